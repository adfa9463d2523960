"""Runs one lesson from top to bottom, as "Run all cells" does, and prints what became of its checks as JSON.

    python tests/lessons/play.py lessons/01_autodiff.py [--with-solutions]

With solutions, a function that a cell leaves open is replaced by the solution of the same name as soon as the cell has
run: what a learner has who got it right. In a process of its own, because a lesson is a program and not a module.
"""

import ast
import dataclasses
import itertools
import json
import os
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path


def code_cells(lesson: Path) -> Iterator[tuple[int, str]]:
    """First line number and source of every cell that is not Markdown."""
    lines = lesson.read_text(encoding="utf8").splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("# %%")] + [len(lines)]
    for start, end in itertools.pairwise(starts):
        if "[markdown]" not in lines[start]:
            yield start, "\n".join(lines[start:end])


def play(lesson: Path, with_solutions: bool) -> list[dict]:
    lesson = lesson.resolve()
    os.chdir(lesson.parent)
    sys.path.insert(0, str(lesson.parent))
    solutions = runpy.run_path(str(lesson.parent / "solutions" / lesson.name)) if with_solutions else {}
    namespace = {"__name__": "__main__"}
    for start, source in code_cells(lesson):
        # As many empty lines before it as in the file: errors and inspect.getsource then name the right line.
        exec(compile("\n" * start + source, str(lesson), "exec"), namespace)
        defined = {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
        namespace |= {name: solutions[name] for name in defined & solutions.keys()}
    from checks import outcomes

    return [dataclasses.asdict(outcome) for outcome in outcomes]


if __name__ == "__main__":
    found = play(Path(sys.argv[1]), "--with-solutions" in sys.argv[2:])
    print("\n" + json.dumps(found))
