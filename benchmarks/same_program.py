"""Do two checkouts compile to the same training step? Counts the instructions that only one of them has.

A noisy machine cannot show that two versions are equally fast within a percent. Equal programs are: XLA's optimised
program of each preset of `train_step.py` is compared instruction by instruction, without names and metadata.

    git worktree add ../before 3893748
    python benchmarks/same_program.py --before ../before
"""

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import tyro
from measuring import show

CHILD = """
import sys
from llm_jax import backend
backend.configure()
import jax, train_step
compile, texts = jax.stages.Lowered.compile, []
jax.stages.Lowered.compile = lambda *a, **k: (program := compile(*a, **k), texts.append(program.as_text()))[0]
train_step.ours(train_step.WORK[sys.argv[1]]())
open(sys.argv[2], "w").write(max(texts, key=len))
"""
UNEQUAL = re.compile(r", metadata=\{[^}]*\}|, backend_config=.*|%?[\w\-]+\.[\w.\-]+|%[\w.\-]+")  # names, and remarks


@dataclass(frozen=True)
class Options:
    before: Path
    """Checkout of the older version."""

    after: Path = Path(__file__).parents[1]
    """Checkout of the newer version. Default: this one."""

    presets: tuple[str, ...] = ("quickstart", "shakespeare-char", "124m-64", "124m-256")
    """Presets of train_step.py."""

    largest: int = 0
    """Also list so many of the instructions that only one version has, for each."""


def main(options: Options) -> None:
    rows, lists = [], []
    for preset in options.presets:
        before, after = (_instructions(path, preset) for path in (options.before, options.after))
        only = {"-": before - after, "+": after - before}
        counts = (before.total(), after.total(), only["-"].total(), only["+"].total())
        rows.append((preset, *(f"{count:,}" for count in counts)))
        for sign, instructions in only.items():
            lists += [f"{preset} {sign} {n} × {text}" for text, n in instructions.most_common(options.largest)]
    show("instructions", ("before", "after", "only before", "only after"), rows)
    print("\n".join(lists))


def _instructions(checkout: Path, preset: str) -> Counter[str]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "step.hlo"
        paths = os.pathsep.join((str(checkout), str(checkout / "benchmarks")))
        subprocess.run(
            [sys.executable, "-c", CHILD, preset, str(out)],
            cwd=checkout, env={**os.environ, "PYTHONPATH": paths}, check=True,
        )  # fmt: skip
        lines = out.read_text().splitlines()
    return Counter(UNEQUAL.sub("", line).strip() for line in lines if " = " in line)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
