"""Show what curation does to a text: which rule of which filter removes how much, of whom, and with what effect.

Runs the filters of `train curate` (datatrove's) on a sample of documents, without writing a data set. Prints the
removals of each rule alone, in order and if it is left out, by language or another label, near-duplicates, and n-grams
shared with benchmarks; writes all of it to critique.json and to critique.html, one page that needs no network. Needs
the extra `curate`.
"""

import sys

from train.critique.config import CritiqueConfig

Options = CritiqueConfig


def main(options: Options) -> int:
    """Reads, measures, prints and writes."""
    import importlib.util

    options.check()
    if missing := [name for name in ("datatrove", "spacy") if importlib.util.find_spec(name) is None]:
        raise ImportError(f"a critique needs {missing[0]}: uv sync --inexact --extra curate")
    from rich.console import Console

    from llm_jax.files import json_files
    from train.critique import analysis, page, report

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    progress = Console(stderr=True, highlight=False)
    record = analysis.analyse(options, lambda said: progress.print(f"{said}…", style="dim", markup=False))
    report.show(console, record)
    options.out.mkdir(parents=True, exist_ok=True)
    json_files.write_json(options.out / "critique.json", record)
    page.write(options.out / "critique.html", record)
    console.print(f"written: {options.out / 'critique.json'} and critique.html", markup=False, soft_wrap=True)
    return 0
