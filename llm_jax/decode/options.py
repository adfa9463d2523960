"""How the next token is chosen, as a value. Imports no JAX, so a command line can read it at once."""

import math
import numbers
from dataclasses import dataclass, replace

LEAST_SEED = -(2**63)  # OpenAI's seeds are signed and have 64 bits


@dataclass(frozen=True)
class Sampling:
    """Temperature, then top-k, then top-p, in the order of Hugging Face's `generate`."""

    temperature: float = 1.0
    """Logits are divided by it before the softmax; below 1e-5, as at 0, the most likely token is taken (greedy)."""
    top_k: int = 0
    """Draw among this many most likely tokens (Fan et al. 2018); 0: among all."""
    top_p: float = 1.0
    """Draw among the fewest most likely tokens whose probabilities sum to this (Holtzman et al. 2020); 1: among all."""
    seed: int = 0
    """Random seed, 64 bits. Prompt number i (from 0) draws from the stream of seed + i, whatever stands beside it."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(
                f"temperature must be 0 (most likely token) or more; got {self.temperature}: "
                "0.7 is cautious, 1 is what the model learned"
            )
        for name in ("top_k", "seed"):
            if not isinstance(getattr(self, name), numbers.Integral):  # Python's or NumPy's
                raise ValueError(f"{name} must be a whole number; got {getattr(self, name)!r}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be 1 or more, or 0 for all tokens; got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1 (all tokens); got {self.top_p}")
        if not LEAST_SEED <= self.seed <= -LEAST_SEED - 1:
            raise ValueError(f"seed must lie between {LEAST_SEED} and {-LEAST_SEED - 1}; got {self.seed}")

    def of(self, number: int) -> "Sampling":
        """The sampling of prompt number i as a request of its own. After the largest seed comes the least."""
        return replace(self, seed=(self.seed + number - LEAST_SEED) % 2**64 + LEAST_SEED)
