"""Settings of `serve api`. Imports no JAX."""

from dataclasses import dataclass, field

import tyro

from llm_jax.config import Execution
from serve.door.listening import Door
from serve.models import WeightsOption


@dataclass(frozen=True)
class ApiConfig:
    """The model, the size of a batch, and who may send requests."""

    model: tyro.conf.Positional[str]
    """Folder of a run, a Hugging Face directory, or owner/name on the hub."""
    step: int | None = None
    """Of a run: the checkpoint's step. Default: the newest intact one."""
    adapter: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=FOLDER: serves an adapter (a LoRA run, or a directory in PEFT's format) as a model of its own; may be given
    several times. One batch holds requests for any of them."""
    rows: int = 8
    """Sequences decoded at once; further ones wait. A step takes about the same time for one sequence as for all."""
    weights: WeightsOption = "auto"
    door: tyro.conf.OmitArgPrefixes[Door] = field(default_factory=Door)
    execution: tyro.conf.OmitArgPrefixes[Execution] = field(default_factory=Execution)

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ValueError(f"rows must be at least 1; got {self.rows}")
