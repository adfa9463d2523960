"""How a run is doing: what SLURM says of its job, joined with the run's own metrics.

Works for a run of this machine, too, where there is no SLURM to ask.
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
    """Prints a table; the exit status is 0."""
    from train.submit.status.report import show

    return show(options.runs, options.run)
