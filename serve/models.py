"""Loads a model to serve: a run's folder, a Hugging Face directory, or a name on the hub."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from llm_jax.config import Weights

if TYPE_CHECKING:
    from llm_jax.config import DecoderConfig
    from llm_jax.models.decoder import Decoder
    from llm_jax.tokenizer import Tokenizer


WeightsOption = Annotated[
    Weights,
    tyro.conf.arg(
        help="Number format in which our decoder keeps the weights; a step reads them all. bf16 is half of float32, "
        "int8 a quarter (one scale for each output). auto: float32 on a CPU, bfloat16 on a GPU."
    ),
]


@dataclass(frozen=True)
class Model:
    config: "DecoderConfig"
    params: "Decoder"
    tokenizer: "Tokenizer"
    name: str
    folder: Path | None  # of its tokenizer's files, where they are on this machine
    weights: Weights = "auto"  # the number format in which it is to be decoded


def load_model(source: str, step: int | None = None, whole: bool = False, weights: Weights = "auto") -> Model:
    """A model and its tokenizer. Ids that the tokenizer does not have are cut off the model's vocabulary.

    Args:
        source: folder of a run, Hugging Face directory, or owner/name on the hub.
        step: of a run: the checkpoint's step; None: the newest intact one.
        whole: keeps the whole vocabulary, for comparisons with programs that keep it.
        weights: number format for decoding. For bf16 and int8 the matrices of a Hugging Face directory stay in the
            format of the file until then.

    Raises:
        FileNotFoundError, ValueError: says what `source` lacks, or what is wrong in it.
    """
    model = replace(_load(source, step, keeps_format=weights in ("bf16", "int8")), weights=weights)
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
    from llm_jax.checkpoint import load_run

    path = Path(source)
    if (path / "checkpoints").is_dir():
        run = load_run(path, step)
        return Model(
            run.config, run.params, run.tokenizer, f"{path.name}, step {run.step:,}", (path / "tokenizer").resolve()
        )
    if step is not None:
        raise ValueError(f"{source} is not a run, so it has no step {step}")
    loaded = hf.load(source, keeps_format)
    if loaded.tokenizer is None:
        raise FileNotFoundError(f"{source} has no tokenizer.json: put one there")
    return Model(loaded.config, loaded.params, loaded.tokenizer, path.name, path.resolve() if path.is_dir() else None)
