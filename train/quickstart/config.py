"""Options of `train quickstart`: its time, its text, and the folder of its run."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class QuickstartConfig:
    minutes: float = 5.0
    """Minutes for all stages together; at least 0.5."""
    data: Path | None = None
    """Prepared folder of shards, or a plain text file. Default: the sources of the Python standard library."""
    run: str = "quickstart"
    """Name of the run; its folder is RUNS/NAME."""
    runs: Path = Path("runs")
    """Folder of all runs."""
    seed: int = 1337
    """Seed of initial parameters, order of the data, and samples."""

    def __post_init__(self) -> None:
        if not self.minutes >= 0.5:
            raise ValueError(f"minutes must be at least 0.5; got {self.minutes}")
