"""The settings of the network that reads digits. `--help` imports this file and nothing heavier."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class DigitsConfig:
    """The network and its training."""

    hidden: int = 256
    """Hidden units."""
    epochs: int = 30
    """Passes over the training images."""
    batch_size: int = 32
    """Images per step."""
    learning_rate: float = 0.3
    """At the first step; it falls linearly to 0."""
    weight_decay: float = 1e-4
    """This times a parameter is added to its gradient."""
    shift: float | None = None
    """Pixels by which a training picture is moved at most. Default: a 16th of its height."""
    seed: int = 0
    """Seed of initial weights and order of the images; the split is the same for every seed."""

    def __post_init__(self) -> None:
        for name in ("hidden", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be above 0; got {self.learning_rate}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must not be negative; got {self.weight_decay}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative; got {self.seed}")
        if self.shift is not None and not 0 <= self.shift < math.inf:
            raise ValueError(f"shift must be a number of pixels, 0 or more; got {self.shift}")

    def steps_per_epoch(self, images: int) -> int:
        """Raises ValueError when there are fewer images than one batch has."""
        if images < self.batch_size:
            raise ValueError(f"batch_size must not exceed the training images; got {self.batch_size} and {images}")
        return images // self.batch_size
