"""Settings of the analysis of votes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Every field is also a flag of `serve arena`."""

    bootstraps: int = 1000
    """How often the votes are drawn again, for the intervals."""
    shuffles: int = 100
    """Random orders of the votes, over which Elo is averaged."""
    confidence: float = 0.95
    """Of the intervals in the terminal; the page has a switch."""
    k: float = 4.0
    """Elo's K: rating points that a vote moves at most."""
    cluster: str | None = None
    """Column of a group of votes that depend on each other, such as the voter: the bootstrap draws whole groups."""
    min_votes: int = 1
    """Leave out models with fewer votes."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.bootstraps < 10:
            raise ValueError(f"bootstraps must be at least 10, so that an interval can be read; got {self.bootstraps}")
        if self.shuffles < 1:
            raise ValueError(f"shuffles must be at least 1; got {self.shuffles}")
        if not 0.5 <= self.confidence <= 0.999:
            raise ValueError(f"confidence must be between 0.5 and 0.999; got {self.confidence}")
        if not 0 < self.k < float("inf"):
            raise ValueError(f"k must be a positive number; got {self.k}")
