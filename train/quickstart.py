"""The whole road in minutes, on a CPU, without a download: text, tokenizer, training, samples, export, verification.

Trains on the Python standard library's own sources unless --data names a prepared folder or a text file. Interrupted
and started again, it goes on where it was.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    minutes: float = 5.0
    """Minutes for everything, from start to finish; at least 0.5."""
    data: Path | None = None
    """Prepared folder of shards, or a plain text file. Default: the Python standard library's own sources."""
    run: str = "quickstart"
    """Name of the run; its folder is RUNS/NAME."""
    runs: Path = Path("runs")
    """Folder of all runs."""
    seed: int = 1337
    """Seed of initial parameters, order of the data, and samples."""

    def __post_init__(self) -> None:
        if not self.minutes >= 0.5:
            raise ValueError(f"minutes must be at least 0.5; got {self.minutes}")


def main(options: Options) -> int:
    """The exit status: 0, or that of the training where it was stopped."""
    from llm_jax import backend

    backend.configure()
    from train.road import travel

    return travel(options)
