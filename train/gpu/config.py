"""What is asked of `train gpu`, checked before anything is computed."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class GpuConfig:
    preset: tyro.conf.Positional[str]
    """A preset of `train pretrain`."""
    tokens: float = 10e9
    """Tokens to train on."""
    devices: Annotated[tuple[int, ...], tyro.conf.arg(name="devices")] = (1, 8, 64)
    """Numbers of accelerators to consider, in machines of eight."""
    days: float = math.inf
    """Days that the training may take, at most."""
    budget: float = math.inf
    """US dollars for the whole training, at most."""
    prices: Path | None = None
    """TOML file of prices, in place of those that come with this program."""
    out: Path | None = None
    """File for the answer as JSON; none: only the terminal."""

    def __post_init__(self) -> None:
        for name in ("tokens", "days", "budget"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0; got {getattr(self, name)}")
        if not self.tokens < math.inf:
            raise ValueError(f"tokens must be finite; got {self.tokens}")
        if not self.devices or min(self.devices) < 1:
            raise ValueError(f"devices must be numbers of at least 1; got {self.devices}")
