"""Settings of `serve vllm`. Imports no JAX."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from serve.door.listening import Door


@dataclass(frozen=True)
class VllmConfig:
    """The model, how vLLM uses the machine, and who may send requests."""

    model: tyro.conf.Positional[Path]
    """Hugging Face directory, such as runs/quickstart/hf."""
    adapter: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=FOLDER: serves an adapter in PEFT's format as a model of its own; may be given several times."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Compute format; auto: bfloat16 on a GPU, float32 on a CPU."""
    max_num_seqs: int = 64
    """Sequences decoded at once; further ones wait."""
    gpu_memory_utilization: float = 0.9
    """Part of a GPU's memory for weights and KV-cache."""
    tensor_parallel_size: int = 1
    """GPUs that share each matrix."""
    pipeline_parallel_size: int = 1
    """Groups of GPUs that hold the layers, group after group; over several nodes with Ray (docs/serving.md)."""
    python: Path | None = None
    """Python that has vLLM. Default: $LLM_JAX_VLLM_PYTHON, else what `install-vllm` built."""
    ready_timeout: float = 600
    """Seconds that vLLM may take to load."""
    door: tyro.conf.OmitArgPrefixes[Door] = field(default_factory=Door)
    more: tyro.conf.Suppress[tuple[str, ...]] = ()
    """Flags for `vllm serve`: the arguments after `--`."""

    def __post_init__(self) -> None:
        if not 0 < self.gpu_memory_utilization <= 1:
            raise ValueError(f"gpu_memory_utilization must lie between 0 and 1; got {self.gpu_memory_utilization}")
        for name in ("tensor_parallel_size", "pipeline_parallel_size", "max_num_seqs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        for flag in self.more:
            name = flag.split("=")[0].replace("_", "-")
            if name in ("--host", "--port", "--uds", "--allowed-origins"):  # the guard must know them
                raise ValueError(f"{name} is set here: give it before the `--`, where this command has it")
            if name in ("--lora-modules", "--enable-lora", "--max-lora-rank", "--max-loras") and self.adapter:
                raise ValueError(f"{name} is set here by --adapter: leave one of them out")
            if name in ("--api-key", "--middleware"):
                raise ValueError(f"{flag.split('=')[0]} is set here; the key comes from --key-file or the environment")
