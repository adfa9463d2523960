"""Which checkpoints stay: the last few, one every so many steps, and the one with the lowest validation loss."""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Retention:
    """A checkpoint stays if any of the three rules keeps it."""

    keep_last: int = 3
    """Newest checkpoints kept; with 2 or more, there is one to fall back on if the newest is damaged."""
    keep_every: int | None = None
    """Checkpoints of steps divisible by this are kept for good; None: no such rule."""
    keep_best: bool = True
    """The checkpoint with the lowest finite validation loss is kept (of equals, the newest)."""

    def __post_init__(self) -> None:
        if self.keep_last < 1:
            raise ValueError(f"keep_last must be at least 1 checkpoint; got {self.keep_last}")
        if self.keep_every is not None and self.keep_every < 1:
            raise ValueError(f"keep_every must be at least 1 step, or None for no such rule; got {self.keep_every}")

    def expired(self, val_losses: Mapping[int, float | None]) -> list[int]:
        """Steps to delete, given each saved step's validation loss (None where it was not measured)."""
        steps = sorted(val_losses)
        kept = set(steps[-self.keep_last :])
        if self.keep_every is not None:
            kept.update(step for step in steps if step % self.keep_every == 0)
        measured = [(loss, -step) for step, loss in val_losses.items() if loss is not None and math.isfinite(loss)]
        if self.keep_best and measured:
            kept.add(-min(measured)[1])
        return [step for step in steps if step not in kept]
