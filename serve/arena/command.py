"""Ratings from pairwise votes, and how far they can be trusted: `python -m serve arena VOTES.csv`.

The file has the columns left, right, winner (or model_a, model_b, winner). Prints win rates, Elo, Bradley–Terry with
bootstrap intervals and rank ranges, the effect of side and length, circles, and the votes needed to tell neighbours
apart; writes the same to arena.json and to arena.html, one page that needs no network.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from serve.arena.config import Settings


@dataclass(frozen=True)
class Options:
    votes: tyro.conf.Positional[Path]
    """CSV or TSV file of votes, plain or compressed."""
    settings: tyro.conf.OmitArgPrefixes[Settings] = Settings()
    out: Path = Path("arena")
    """Folder for arena.json and arena.html."""


def main(options: Options) -> int:
    """Reads, analyses, prints and writes."""
    from rich.console import Console

    from llm_jax.files import json_files
    from serve.arena import analysis, page, report, votes

    read = votes.read(options.votes, options.settings.cluster)
    record = analysis.analyse(read, options.settings, options.votes.name)
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    report.show(console, record, options.settings.confidence)
    options.out.mkdir(parents=True, exist_ok=True)
    json_files.write_json(options.out / "arena.json", record)
    page.write(options.out / "arena.html", record)
    console.print(f"written: {options.out / 'arena.json'} and arena.html")
    return 0
