"""What is asked of `serve gpu`, checked before anything is computed."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True)
class GpuConfig:
    model: tyro.conf.Positional[str]
    """A preset's name, a run, a Hugging Face directory, a config.json, or owner/name on the hub."""
    context: int = 4096
    """Tokens of prompt and answer that one user may have."""
    users: int = 16
    """Users who are being answered at once."""
    prompt: int = 0
    """Tokens of a prompt, on average; 0: three quarters of half the context."""
    answer: int = 0
    """Tokens of an answer, on average; 0: a quarter of half the context."""
    tokens_per_second: float = 10.0
    """Tokens that each user gets a second, at least; people read about 5."""
    budget: float = math.inf
    """US dollars an hour, at most."""
    dtype: Literal["bfloat16", "float16", "fp8"] = "bfloat16"
    """Format of the weights. With fp8 the cache stays in bfloat16."""
    devices: Annotated[tuple[int, ...], tyro.conf.arg(name="devices")] = (1, 2, 4, 8)
    """Numbers of accelerators that may share the model (tensor parallel, in one machine)."""
    utilisation: float = 0.9
    """Share of each memory that the server takes."""
    prices: Path | None = None
    """TOML file of prices, in place of those that come with this program."""
    out: Path | None = None
    """Folder for gpu.json and gpu.png; none: only the terminal."""

    def __post_init__(self) -> None:
        for name in ("context", "users"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        for name in ("prompt", "answer"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative; got {getattr(self, name)}")
        for name in ("tokens_per_second", "budget"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0; got {getattr(self, name)}")
        if not self.devices or min(self.devices) < 1:
            raise ValueError(f"devices must be numbers of at least 1; got {self.devices}")
        if not 0 < self.utilisation <= 1:
            raise ValueError(f"utilisation must be above 0 and at most 1; got {self.utilisation}")
        if self.prompt_tokens + self.answer_tokens > self.context:
            raise ValueError(
                f"prompt and answer must fit the context of {self.context} tokens; got {self.prompt_tokens} and "
                f"{self.answer_tokens}"
            )

    @property
    def prompt_tokens(self) -> int:
        return self.prompt or max(1, self.context * 3 // 8)

    @property
    def answer_tokens(self) -> int:
        return self.answer or max(1, self.context // 8)
