"""How rotary positions reach beyond the context that a model was trained with."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from llm_jax.config.values import refuse_no_count, refuse_no_switch, refuse_unknown


@dataclass(frozen=True)
class RotaryScaling:
    """How rotary frequencies are changed to reach beyond the context that a model was trained with.

    `linear`: all positions are divided by the factor (Chen et al. 2023). `llama3`: low frequencies are divided, high
    ones stay (Llama 3.1). `yarn`: the same with a ramp between two numbers of turns, and scaled queries and keys (Peng
    et al. 2023, YaRN, §3).
    """

    kind: Literal["linear", "llama3", "yarn"]
    factor: float
    """Longest context over the original one."""
    original_context_length: int
    """Positions that the model was trained with before."""
    low_freq_factor: float = 1.0
    """llama3: a frequency that turns fewer times than this over the original context is divided by the factor."""
    high_freq_factor: float = 4.0
    """llama3: a frequency that turns more often than this stays."""
    beta_fast: float = 32.0
    """yarn: a frequency that turns more often than this over the original context stays."""
    beta_slow: float = 1.0
    """yarn: a frequency that turns fewer times than this is divided by the factor."""
    attention_factor: float | None = None
    """yarn: multiplies queries and keys after the rotation; none: 0.1·ln(factor) + 1 (eq. 22)."""
    truncate: bool = True
    """yarn: the ends of the ramp are rounded to whole dimensions."""

    def __post_init__(self) -> None:
        refuse_unknown(self, "kind")
        refuse_no_count("original_context_length", self.original_context_length)
        for name in ("factor", "low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow", "attention_factor"):
            value: Any = getattr(self, name)
            is_number = type(value) in (int, float) and 0 < value < math.inf
            if not is_number and not (value is None and name == "attention_factor"):
                raise ValueError(f"{name} of the rotary scaling must be a number above 0; got {value!r}")
        if self.factor < 1:
            raise ValueError(f"factor of the rotary scaling must be at least 1; got {self.factor}")
        if self.kind == "llama3" and self.low_freq_factor >= self.high_freq_factor:
            raise ValueError(
                f"low_freq_factor must be below high_freq_factor; got {self.low_freq_factor} and "
                f"{self.high_freq_factor}"
            )
        if self.kind == "yarn" and self.beta_slow >= self.beta_fast:
            raise ValueError(f"beta_slow must be below beta_fast; got {self.beta_slow} and {self.beta_fast}")
        refuse_no_switch("truncate", self.truncate)
