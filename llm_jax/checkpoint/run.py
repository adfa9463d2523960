"""`load_run` reads config, parameters and tokenizer from a run's folder.

It reads only the parameters of the checkpoint, not the optimizer's moments, which are twice as large. It changes
nothing in the folder, so it can load from a run that is still training.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax

from llm_jax import tokenizer as tokenizers
from llm_jax.checkpoint import layout
from llm_jax.config import DecoderConfig, from_dict
from llm_jax.models import decoder
from llm_jax.runs import CHECKPOINTS, CONFIG, TOKENIZER, read_config, refuse_no_text_model
from llm_jax.tokenizer import Tokenizer


@dataclass(frozen=True)
class LoadedRun:
    """A trained model: config, parameters and tokenizer."""

    config: DecoderConfig
    params: decoder.Decoder  # float32, on the first device
    tokenizer: Tokenizer
    step: int


def load_run(run: Path, step: int | None = None) -> LoadedRun:
    """The newest intact checkpoint of a run's folder (`runs/NAME`), or the one of `step`.

    If a checkpoint is damaged, a warning is logged and the one before it is loaded.

    Raises:
        FileNotFoundError: `run` is not a run or has no checkpoint yet.
        Damaged: no checkpoint is intact.
        ValueError: this version cannot read the config or the state.
    """
    run = Path(run)
    config = model_config(run)
    if not (run / TOKENIZER).is_dir():
        raise FileNotFoundError(f"{run / 'tokenizer'} is missing: the run's folder is incomplete, copy all of it")
    tokenizer = tokenizers.load(run / TOKENIZER)
    chosen, _ = layout.choose(run / CHECKPOINTS, step)
    template = jax.eval_shape(partial(decoder.init, config=config), jax.random.key(0))
    params = layout.read(run / CHECKPOINTS, template, chosen, prefix="params.")
    return LoadedRun(config, params, tokenizer, chosen)


def model_config(run: Path) -> DecoderConfig:
    """What the run trains. Raises FileNotFoundError for what is no run, ValueError for what cannot be read."""
    content, path = read_config(run), run / CONFIG
    refuse_no_text_model(run, content)
    if content.get("lora"):
        raise ValueError(f"{run} holds LoRA's adapters and not a whole model: `llm_jax.hf.open_model` opens it")
    if "model" not in content:
        raise ValueError(
            f"{path} is not the config of a run (it has no 'model'): restore it from a copy, or train again"
        )
    try:
        return from_dict(DecoderConfig, content["model"])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} describes no model this version knows: {error}") from None
