"""Leaderboards from files of choices, and how far they can be trusted: `python -m serve leaderboard FILES…`.

A file is what `serve evaluate --log-choices` writes, a samples_TASK.jsonl of lm-evaluation-harness, or a CSV file of
means (nll_0, nll_1, …; right answers from --items). NAME=FILE or NAME:PROMPT=FILE names a model. Prints one board for
each task; writes all rules, prompts and subsets to leaderboard.json and to leaderboard.html, one page that needs no
network.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from serve.leaderboard.config import Settings


@dataclass(frozen=True)
class Options:
    files: tyro.conf.Positional[tuple[str, ...]]
    """Files of choices, each FILE, NAME=FILE or NAME:PROMPT=FILE."""
    items: Path | None = None
    """Data file (parquet or JSONL; endings, label) for files that do not say which answers are right."""
    task: str = "hellaswag"
    """What a CSV file of means is about."""
    rule: str | None = None
    """Rule of the board in the terminal. Default: character, else token, byte, letter, pmi, sum."""
    prompt: str | None = None
    """Prompt of that board. Default: that with most models."""
    subset: str | None = None
    """Subset of items of that board. Default: all."""
    settings: tyro.conf.OmitArgPrefixes[Settings] = Settings()
    out: Path = Path("leaderboard")
    """Folder for leaderboard.json and leaderboard.html."""


def main(options: Options) -> int:
    """Reads, analyses, prints and writes."""
    from rich.console import Console

    from llm_jax.files import json_files
    from llm_jax.scoring.choices import reading
    from serve.leaderboard import analysis, page, report

    entries = reading.read_all(options.files, options.items, options.task)
    record = analysis.analyse(entries, options.settings)
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    report.show(console, record, options.rule, options.prompt, options.subset)
    options.out.mkdir(parents=True, exist_ok=True)
    json_files.write_json(options.out / "leaderboard.json", record)
    page.write(options.out / "leaderboard.html", record)
    console.print(f"written: {options.out / 'leaderboard.json'} and leaderboard.html")
    return 0
