"""Settings of a leaderboard's analysis."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Every field is also a flag of `serve leaderboard`."""

    bootstraps: int = 1000
    """How often the items are drawn again, for the intervals of ranks."""
    by_group: bool = False
    """Draw whole groups (HellaSwag's activities, MMLU's subjects), because items of a group are not independent."""
    confidence: float = 0.95
    """Of the intervals in the terminal; the page has a switch."""
    variants: int = 27
    """Equally good variants, of which only the best is shown."""
    common_items: bool = False
    """Where files hold other items: compare the models on the items that all have, in place of refusing."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.bootstraps < 10:
            raise ValueError(f"bootstraps must be at least 10, so that an interval can be read; got {self.bootstraps}")
        if not 0.5 <= self.confidence <= 0.999:
            raise ValueError(f"confidence must be between 0.5 and 0.999; got {self.confidence}")
        if self.variants < 1:
            raise ValueError(f"variants must be at least 1; got {self.variants}")
