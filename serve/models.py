"""A model to serve, wherever it is: a run's folder, a Hugging Face directory, or a name on the hub."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm_jax.config import GPTConfig
    from llm_jax.models.gpt import GPT
    from llm_jax.tokenizer import Tokenizer


@dataclass(frozen=True)
class Model:
    config: "GPTConfig"
    params: "GPT"
    tokenizer: "Tokenizer"
    name: str
    folder: Path | None  # of its tokenizer's files, where they are on this machine


def load_model(source: str, step: int | None = None) -> Model:
    """Raises FileNotFoundError or ValueError that says what `source` is not, or what is wrong inside it."""
    from llm_jax import hf
    from llm_jax.checkpoint import load_run

    path = Path(source)
    if (path / "checkpoints").is_dir():
        run = load_run(path, step)
        return Model(
            run.config, run.params, run.tokenizer, f"{path.name}, step {run.step:,}", (path / "tokenizer").resolve()
        )
    if step is not None:
        raise ValueError(f"{source} is not a run, so it has no step {step}")
    loaded = hf.load(source)
    if loaded.tokenizer is None:
        raise FileNotFoundError(f"{source} has no tokenizer.json: put one there")
    return Model(loaded.config, loaded.params, loaded.tokenizer, path.name, path.resolve() if path.is_dir() else None)
