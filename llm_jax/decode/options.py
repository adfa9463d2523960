"""How the next token is chosen, as a value. Imports no JAX, so a command line can read it at once."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Sampling:
    """Temperature, then top-k, then top-p, in the order of Hugging Face's `generate`."""

    temperature: float = 1.0
    """Logits are divided by it before the softmax; 0 always takes the most likely token (greedy)."""
    top_k: int = 0
    """Draw among this many most likely tokens (Fan et al. 2018); 0: among all."""
    top_p: float = 1.0
    """Draw among the fewest most likely tokens whose probabilities sum to this (Holtzman et al. 2020); 1: among all."""
    seed: int = 0
    """Random seed. Prompt number i (from 0) draws from the stream of seed + i, whatever stands beside it."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(
                f"temperature must be 0 (most likely token) or more; got {self.temperature}: "
                "0.7 is cautious, 1 is what the model learned"
            )
        if self.top_k < 0:
            raise ValueError(f"top_k must be 1 or more, or 0 for all tokens; got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1 (all tokens); got {self.top_p}")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed must lie between 0 and {2**31 - 1}; got {self.seed}")
