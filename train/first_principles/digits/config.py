"""Settings of the network that reads digits. Without heavy imports, because `--help` imports this file."""

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
    """Learning rate of the first step; it falls linearly to 0."""
    weight_decay: float = 1e-4
    """The gradient of every parameter gets this times the parameter added."""
    shift: float | None = None
    """Largest random shift of a training picture, in pixels. Default: a 16th of its height."""
    seed: int = 0
    """Seed of the initial weights and the order of the images. The split into sets does not depend on it."""

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
        """Whole batches in `images`.

        Raises:
            ValueError: there are fewer images than one batch has.
        """
        if images < self.batch_size:
            raise ValueError(f"batch_size must not exceed the training images; got {self.batch_size} and {images}")
        return images // self.batch_size
