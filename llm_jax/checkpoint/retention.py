"""Decides which checkpoints are kept: the last few, one every N steps, and the one with the lowest validation loss."""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Retention:
    """A checkpoint is kept if any of the three rules keeps it."""

    keep_last: int = 3
    """Number of newest checkpoints to keep. With 2 or more, a run can fall back on an older one if one is damaged."""
    keep_every: int | None = None
    """Keep checkpoints of steps divisible by this for ever; None: no such rule."""
    keep_best: bool = True
    """Keep the checkpoint with the lowest finite validation loss; of several equal ones, the newest."""

    def __post_init__(self) -> None:
        if self.keep_last < 1:
            raise ValueError(f"keep_last must be at least 1 checkpoint; got {self.keep_last}")
        if self.keep_every is not None and self.keep_every < 1:
            raise ValueError(f"keep_every must be at least 1 step, or None for no such rule; got {self.keep_every}")

    def expired(self, val_losses: Mapping[int, float | None]) -> list[int]:
        """Steps to delete, given each saved step's validation loss (None if it was not measured)."""
        steps = sorted(val_losses)
        kept = set(steps[-self.keep_last :])
        if self.keep_every is not None:
            kept.update(step for step in steps if step % self.keep_every == 0)
        measured = [(loss, -step) for step, loss in val_losses.items() if loss is not None and math.isfinite(loss)]
        if self.keep_best and measured:
            kept.add(-min(measured)[1])
        return [step for step in steps if step not in kept]
