"""Loads a model to serve: a run's folder, a Hugging Face directory, or a name on the hub; with adapters or without."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm_jax.config import DecoderConfig
    from llm_jax.models.decoder import Decoder
    from llm_jax.tokenizer import Tokenizer


@dataclass(frozen=True)
class Model:
    config: "DecoderConfig"
    params: "Decoder"
    tokenizer: "Tokenizer"
    name: str
    folder: Path | None  # of its tokenizer's files, where they are on this machine


def load_model(source: str, step: int | None = None, whole: bool = False, adapter: str | Path | None = None) -> Model:
    """A model and its tokenizer. Ids that the tokenizer does not have are cut off the model's vocabulary.

    Args:
        source: folder of a run, Hugging Face directory, or owner/name on the hub.
        step: of a run: the checkpoint's step; None: the newest intact one.
        whole: keeps the whole vocabulary, for comparisons with programs that keep it.
        adapter: a LoRA run or PEFT's directory, merged into the weights.

    Raises:
        FileNotFoundError, ValueError: says what `source` or `adapter` lacks, or what is wrong in it.
    """
    model = _load(source, step)
    if adapter is not None:
        from llm_jax import adapters, hf

        found, lora = hf.load_adapter(adapter, model.config, model.params)
        params = adapters.merge(model.params, found, model.config, lora)
        model = replace(model, params=params, name=f"{model.name} + {Path(adapter).name}")
    return _trimmed_to_tokenizer(model, source, whole)


def load_with_adapters(source: str, step: int | None, folders: Sequence[Path]) -> Model:
    """A model that carries several adapters, numbered from 1 in the order given (`llm_jax.adapters.together`).

    Raises as `load_model`.
    """
    model = _load(source, step)
    if folders:
        from llm_jax import adapters, hf

        several = [hf.load_adapter(folder, model.config, model.params) for folder in folders]
        model = replace(model, params=adapters.attach_together(model.params, several, model.config))
    return _trimmed_to_tokenizer(model, source, whole=False)


def _trimmed_to_tokenizer(model: Model, source: str, whole: bool) -> Model:
    n_ids, n_known = model.tokenizer.vocab_size, model.config.vocab_size
    if n_ids > n_known:
        raise ValueError(
            f"{source}: the tokenizer has {n_ids:,} ids, the model knows {n_known:,}: put the tokenizer there that it "
            "was trained with"
        )
    if whole:
        return model
    params, config = trimmed(model.params, model.config, n_ids)
    return replace(model, params=params, config=config)


def trimmed(params: "Decoder", config: "DecoderConfig", n_ids: int) -> "tuple[Decoder, DecoderConfig]":
    """Removes the ids from `n_ids` on, which have no token: many vocabularies are padded to a round number."""
    if n_ids == config.vocab_size:
        return params, config
    import jax.numpy as jnp

    config = replace(config, vocab_size=n_ids)
    padding = ((0, config.padded_vocab_size - n_ids), (0, 0))
    embedding = jnp.pad(params.token_embedding[:n_ids], padding)
    head = None if params.head is None else jnp.pad(params.head[:n_ids], padding)
    return replace(params, token_embedding=embedding, head=head), config


def _load(source: str, step: int | None) -> Model:
    from llm_jax import hf

    found = hf.open_model(source, step)
    return Model(found.config, found.params, found.tokenizer, found.name, found.folder)
