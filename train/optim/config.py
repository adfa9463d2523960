"""Settings of the optimizer and of its learning-rate schedule, as values. Imports no JAX."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class OptimizerConfig:
    """Which optimizer, and its constants."""

    optimizer: Literal["adamw", "muon"] = "adamw"
    """adamw, or muon for the hidden matrices with adamw for the rest."""
    learning_rate: float = 6e-4
    """Peak learning rate."""
    beta_1: float = 0.9
    """AdamW: decay of the gradient's running mean."""
    beta_2: float = 0.95
    """AdamW: decay of the squared gradient's running mean."""
    adam_epsilon: float = 1e-8
    """AdamW: added to the root of the second moment."""
    weight_decay: float = 0.1
    """Decoupled decay of matrices (embeddings included), per unit of learning rate."""
    muon_momentum: float = 0.95
    """Muon: decay of the momentum, with Nesterov's look-ahead."""
    clip_norm: float = 1.0
    """Largest global gradient norm; 0 turns clipping off."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "adam_epsilon"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive; got {getattr(self, name)}")
        for name in ("beta_1", "beta_2", "muon_momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1); got {getattr(self, name)}")
        if not (self.weight_decay >= 0 and self.clip_norm >= 0):
            raise ValueError(
                f"weight_decay and clip_norm must not be negative; got {self.weight_decay} and {self.clip_norm}"
            )


@dataclass(frozen=True)
class ScheduleConfig:
    """The learning rate as a function of the step."""

    schedule: Literal["cosine", "wsd", "constant", "noam"] = "cosine"
    """Shape after the warm-up: cosine, wsd (constant, then linear decay over the last part), constant, or noam (falls
    as 1/√step; Vaswani et al. 2017, eq. 3)."""
    warmup_steps: int = 100
    """Linear rise from 0, in steps."""
    decay_fraction: float = 0.2
    """wsd: share of all steps, at the end of the run, in which the rate falls."""
    final_fraction: float = 0.1
    """Final learning rate, as a share of the peak. cosine reaches it at the last step. wsd would reach it one step
    later, so with 0 the last step still learns. constant stays at the peak; noam has no final rate."""

    def __post_init__(self) -> None:
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps must not be negative; got {self.warmup_steps}")
        for name in ("decay_fraction", "final_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1]; got {getattr(self, name)}")
