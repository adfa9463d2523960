"""Options of `serve agree`: the model, the questions, the programs and the bound."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import tyro

ModelName = Literal["jax", "transformers", "vllm", "http"]
MODEL_NAMES: tuple[ModelName, ...] = get_args(ModelName)


@dataclass(frozen=True)
class AgreementConfig:
    """The model, the questions, and the programs that answer them."""

    model: tyro.conf.Positional[str]
    """Folder of a run (it is exported to a temporary folder), or a Hugging Face directory."""
    adapter: Path | None = None
    """A LoRA run or a directory in PEFT's format: compares the model with it, merged and beside the weights."""
    prompts: int = 200
    """Number of prompts."""
    tokens: int = 32
    """New tokens for each prompt."""
    prompt_file: Path | None = None
    """File of prompts, one per line. Default: beginnings of texts that the model generates."""
    hellaswag: Path | None = None
    """HellaSwag file (parquet or JSONL): its log-likelihoods and accuracies are compared as well."""
    items: int = 200
    """Number of items of that file, from its beginning."""
    bound: float = 1e-3
    """Largest difference of log-probabilities, in nats, that counts as agreement."""
    sides: tuple[ModelName, ...] = ()
    """Programs to compare, beside the two of JAX; each must be installed. Default: all that are installed."""
    python: Path | None = None
    """Python with vLLM. Default: LLM_JAX_VLLM_PYTHON, or what `python -m serve install-vllm` built."""
    step: int | None = None
    """Step of a run's checkpoint. Default: the newest intact one."""
    out: Path | None = None
    """JSON file for all figures."""

    def __post_init__(self) -> None:
        for name in ("prompts", "tokens", "items"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        if not self.bound > 0:
            raise ValueError(f"bound must be above 0; got {self.bound}")
