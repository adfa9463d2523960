"""How the next token is chosen, as a value. Imports no JAX, so a command line can read it at once."""

import math
import numbers
from dataclasses import dataclass, replace

LEAST_SEED = -(2**63)  # OpenAI's seeds are signed and have 64 bits


@dataclass(frozen=True)
class Sampling:
    """Temperature, then min-p, then top-k, then top-p, in vLLM's order."""

    temperature: float = 1.0
    """Logits are divided by it before the softmax; below 1e-5, as at 0, the most likely token is taken (greedy)."""
    top_k: int = 0
    """Draw among this many most likely tokens (Fan et al. 2018); 0: among all."""
    top_p: float = 1.0
    """Draw among the fewest most likely tokens whose probabilities sum to this (Holtzman et al. 2020); 1: among all."""
    seed: int = 0
    """Random seed, 64 bits. Prompt number i (from 0) draws from the stream of seed + i, whatever the other prompts."""
    min_p: float = 0.0
    """Draw among tokens at least this likely, as a part of the likeliest one's probability (Nguyen et al. 2024)."""

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
        if not 0 <= self.min_p <= 1:
            raise ValueError(f"min_p must lie between 0 (all tokens) and 1 (the likeliest); got {self.min_p}")
        if not LEAST_SEED <= self.seed <= -LEAST_SEED - 1:
            raise ValueError(f"seed must lie between {LEAST_SEED} and {-LEAST_SEED - 1}; got {self.seed}")

    def of(self, number: int) -> "Sampling":
        """The sampling of prompt number i as a request of its own. After the largest seed comes the least."""
        return replace(self, seed=(self.seed + number - LEAST_SEED) % 2**64 + LEAST_SEED)


@dataclass(frozen=True)
class Adjustment:
    """What is done to a request's logits before a token is chosen, greedily or not (`llm_jax.decode.adjust`).

    Token ids must be the model's.
    """

    presence_penalty: float = 0.0
    """Subtracted from the logits of tokens that the answer has."""
    frequency_penalty: float = 0.0
    """Subtracted from a token's logit as often as the answer has it."""
    repetition_penalty: float = 1.0
    """Divides the positive logits of tokens that prompt or answer have, and multiplies their negative ones."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """Token ids, and what is added to their logits."""
    min_tokens: int = 0
    """New tokens before which none of `ends` is chosen."""
    ends: frozenset[int] = frozenset()
    """Tokens that would end the answer."""
    allowed_tokens: frozenset[int] | None = None
    """No others are chosen; None: all are allowed."""

    def __post_init__(self) -> None:
        for name in ("presence_penalty", "frequency_penalty"):
            if not -2 <= getattr(self, name) <= 2:
                raise ValueError(f"{name} must lie between -2 and 2; got {getattr(self, name)}")
        if not (math.isfinite(self.repetition_penalty) and self.repetition_penalty > 0):
            raise ValueError(
                f"repetition_penalty must be above 0 and finite, and 1 changes nothing; got {self.repetition_penalty}"
            )
        if self.min_tokens < 0:
            raise ValueError(f"min_tokens must be 0 or more; got {self.min_tokens}")
        if self.allowed_tokens is not None and not self.allowed_tokens:
            raise ValueError("allowed_tokens is empty, so no token could be chosen: leave it out to allow all")

    @property
    def changes_logits(self) -> bool:
        """Whether any logit may become another."""
        least = bool(self.min_tokens and self.ends)
        penalties = self.presence_penalty, self.frequency_penalty, self.repetition_penalty
        return penalties != (0, 0, 1) or bool(self.logit_bias) or least or self.allowed_tokens is not None
