"""Show the state of a run: its job, as SLURM reports it, and its progress, from its metrics.

Works on a machine without SLURM too.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Options:
    run: tyro.conf.Positional[str]
    """Name of the run."""
    runs: Path = Path("runs")
    """Folder of all runs."""


def main(options: Options) -> int:
    """Prints a table; returns 0."""
    from train.submit.status.report import show

    return show(options.runs, options.run)
