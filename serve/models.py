"""Loads a model to serve: a run's folder, a Hugging Face directory, or a name on the hub; with adapters or without."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from llm_jax.config import Weights

if TYPE_CHECKING:
    from llm_jax.config import DecoderConfig
    from llm_jax.models.decoder import Decoder
    from llm_jax.models.vision_language.config import VisionLanguageConfig
    from llm_jax.models.vision_language.parameters import Projector, Tower
    from llm_jax.tokenizer import Tokenizer


WeightsOption = Annotated[
    Weights,
    tyro.conf.arg(
        help="Number format in which our decoder keeps the weights; a step reads them all. bf16 is half of float32, "
        "int8 a quarter (one scale for each output). auto: float32 on a CPU, bfloat16 on a GPU."
    ),
]


@dataclass(frozen=True)
class Sight:
    """What a model that sees has beside its decoder."""

    config: "VisionLanguageConfig"
    tower: "Tower"
    projector: "Projector"


@dataclass(frozen=True)
class Model:
    config: "DecoderConfig"
    params: "Decoder"
    tokenizer: "Tokenizer"
    name: str
    folder: Path | None  # of its tokenizer's files, where they are on this machine
    weights: Weights = "auto"  # the number format in which it is to be decoded
    sight: Sight | None = None  # of a model that sees
    tokenizers: "tuple[Tokenizer, ...]" = ()  # of several adapters: each with its own chat template and stops


def load_model(
    source: str,
    step: int | None = None,
    whole: bool = False,
    adapter: str | Path | None = None,
    weights: Weights = "auto",
) -> Model:
    """A model and its tokenizer. Ids that the tokenizer does not have are cut off the model's vocabulary.

    Args:
        source: folder of a run, Hugging Face directory, or owner/name on the hub.
        step: of a run: the checkpoint's step; None: the newest intact one.
        whole: keeps the whole vocabulary, for comparisons with programs that keep it.
        adapter: a LoRA run or PEFT's directory, merged into the weights. Its chat template and stops count.
        weights: number format for decoding. For bf16 and int8 the matrices of a Hugging Face directory stay in the
            format of the file until then, unless an adapter is merged into them, which takes float32.

    Raises:
        FileNotFoundError, ValueError: says what `source` or `adapter` lacks, or what is wrong in it.
    """
    model = replace(_load(source, step, adapter is None and weights in ("bf16", "int8")), weights=weights)
    if adapter is not None:
        from llm_jax import adapters, hf

        found, lora = hf.load_adapter(adapter, model.config, model.params)
        params = adapters.merge(model.params, found, model.config, lora)
        tokenizer = hf.adapter_tokenizer(adapter, model.tokenizer)
        model = replace(model, params=params, tokenizer=tokenizer, name=f"{model.name} + {Path(adapter).name}")
    return model if whole else _trimmed_to_tokenizer(model)


def load_with_adapters(source: str, step: int | None, folders: Sequence[Path], weights: Weights = "auto") -> Model:
    """A model that carries several adapters, numbered from 1 in the order given (`llm_jax.adapters.together`).

    Raises as `load_model`.
    """
    model = replace(_load(source, step, not folders and weights in ("bf16", "int8")), weights=weights)
    if folders:
        from llm_jax import adapters, hf

        several = [hf.load_adapter(folder, model.config, model.params) for folder in folders]
        tokenizers = tuple(hf.adapter_tokenizer(folder, model.tokenizer) for folder in folders)
        params = adapters.attach_together(model.params, several, model.config)
        model = replace(model, params=params, tokenizers=tokenizers)
    return _trimmed_to_tokenizer(model)


def _trimmed_to_tokenizer(model: Model) -> Model:
    params, config = trimmed(model.params, model.config, model.tokenizer.vocab_size)
    return replace(model, params=params, config=config)


def trimmed(params: "Decoder", config: "DecoderConfig", n_ids: int) -> "tuple[Decoder, DecoderConfig]":
    """Removes the ids from `n_ids` on, which have no token: many vocabularies are padded to a round number."""
    if n_ids == config.vocab_size:
        return params, config
    import jax
    import jax.numpy as jnp

    config = replace(config, vocab_size=n_ids)
    more = config.padded_vocab_size - n_ids

    def cut(rows: "jax.Array") -> "jax.Array":
        return jnp.pad(rows[:n_ids], ((0, more), *((0, 0) for _ in rows.shape[1:])))

    # Embedding and head may each be several arrays (int8 and scales), which all have one row for each id.
    embedding, head = jax.tree.map(cut, (params.token_embedding, params.head))
    return replace(params, token_embedding=embedding, head=head), config


def _load(source: str, step: int | None, keeps_format: bool) -> Model:
    from llm_jax import hf
    from llm_jax.hf import llava

    if folder := llava.folder_of(Path(source)):
        if step is not None:
            raise ValueError(f"{source} keeps its last step alone: leave out --step")
        seeing = llava.load(folder)
        sight = Sight(seeing.config, seeing.params.tower, seeing.params.projector)
        name, folder = Path(source).name, folder.resolve()
        return Model(seeing.config.text, seeing.params.text, seeing.tokenizer, name, folder, sight=sight)
    found = hf.open_model(source, step, keeps_format)
    return Model(found.config, found.params, found.tokenizer, found.name, found.folder)
