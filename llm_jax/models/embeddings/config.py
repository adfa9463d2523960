"""The settings of skip-gram, with word2vec.c's names in brackets where they differ. Imports no JAX."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

Negatives = Literal["shared", "each"]


@dataclass(frozen=True)
class SkipGramConfig:
    """The defaults are word2vec.c's for skip-gram."""

    width: int = 100
    """Numbers in a vector [size]."""
    window: int = 5
    """The farthest neighbour, in words; each position draws its own window from 1 to this."""
    negatives: int = 5
    """Words drawn against each pair of neighbours [negative]."""
    min_count: int = 5
    """Words that occur less often are left out [min-count]."""
    subsample: float = 1e-3
    """Words more frequent than this share are thinned out [sample]; 0: none."""
    rate: float = 0.025
    """Learning rate at the beginning; it falls linearly to a ten-thousandth of itself [alpha]."""
    epochs: int = 5
    """Passes over the text [iter]."""
    draw: Negatives = "shared"
    """each: every pair draws its own negatives, as word2vec.c does. shared: a block of text draws as many as it has
    positions, and every pair meets all of them with weight negatives/drawn: the same gradient in the mean, by matrix
    products."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("width", "window", "negatives", "min_count", "epochs"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1; got {value!r}")
        if self.window > 100:
            raise ValueError(f"window must be at most 100 words; got {self.window}")
        if not 0 < self.rate < 1:
            raise ValueError(f"rate must lie between 0 and 1; got {self.rate}")
        if not (math.isfinite(self.subsample) and self.subsample >= 0):
            raise ValueError(f"subsample must be 0 or a share such as 0.001; got {self.subsample}")
        if self.draw not in get_args(Negatives):
            raise ValueError(f"draw must be shared or each; got {self.draw!r}")
