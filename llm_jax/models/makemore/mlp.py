"""A window of characters, an embedding, one hidden layer of tanh (Bengio et al. 2003).

    x = embedding of each of the T characters, side by side        h = tanh(x·W + b)        logits = h·U + c

`initialisation` is one of two. "original" draws every weight from N(0, 1): the first predictions are confident and
wrong (a loss above 20; equal probabilities would give ln V), and most tanh units are saturated, so their gradients are
near zero. "kaiming" draws the hidden layer's weights with standard deviation (5/3)/√inputs, which keeps the variance of
activations from layer to layer (He et al. 2015; the gain 5/3 compensates for tanh), and the last layer's with a small
one, so that all characters start about equally likely. Batch norm (Ioffe & Szegedy 2015) normalises in every batch.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from llm_jax.kernels.linear import linear_on_cpu as linear  # models this small are trained on CPUs
from llm_jax.layers import batch_norm as bn
from llm_jax.layers.batch_norm import BatchNorm, batch_norm
from llm_jax.layers.linear import Linear, init_linear
from llm_jax.models.makemore.letters import letters
from llm_jax.models.watch import Watch, unwatched
from llm_jax.shapes import Array, Float, Int, Key, pytree

TANH_GAIN = 5 / 3
LAST_LAYER_GAIN = 0.01  # in place of 1: all characters start about equally likely

Initialisation = Literal["kaiming", "original"]


@dataclass(frozen=True)
class Config:
    vocab_size: int
    """Characters, the line's end among them."""
    context: int = 3
    """Characters in the window."""
    embedding: int = 10
    """Width of a character's embedding."""
    width: int = 200
    """Hidden units."""
    batch_norm: bool = False
    """Normalise the hidden layer, before its tanh, over the batch. (The layer's bias then has no effect.)"""
    initialisation: Initialisation = "kaiming"
    """kaiming, or original: all weights from N(0, 1)."""


@pytree
class CharacterMLP:
    embedding: Float[Array, "V E"]
    hidden: Linear  # (T, E) → D
    norm: BatchNorm | None
    out: Linear  # D → V


def init(key: Key[Array, ""], config: Config) -> CharacterMLP:
    embedding_key, hidden_key, bias_key, out_key = jax.random.split(key, 4)
    inputs = (config.context, config.embedding)
    is_original = config.initialisation == "original"
    hidden = init_linear(
        hidden_key, inputs, (config.width,), 1.0 if is_original else TANH_GAIN / math.sqrt(math.prod(inputs))
    )
    out_std = 1.0 if is_original else LAST_LAYER_GAIN / math.sqrt(config.width)
    out = init_linear(out_key, (config.width,), (config.vocab_size,), out_std)
    if is_original:
        hidden = dataclasses.replace(hidden, bias=jax.random.normal(bias_key, (config.width,)))
        out = dataclasses.replace(out, bias=jax.random.normal(jax.random.fold_in(bias_key, 1), (config.vocab_size,)))
    return CharacterMLP(
        embedding=jax.random.normal(embedding_key, (config.vocab_size, config.embedding)),
        hidden=hidden,
        norm=bn.init_batch_norm(config.width) if config.batch_norm else None,
        out=out,
    )


def dimension_letters(params: CharacterMLP) -> CharacterMLP:
    vector, table, fused, out, bias = letters("D VE TED DV V")
    return CharacterMLP(
        embedding=table,
        hidden=Linear(weight=fused, bias=vector),
        norm=BatchNorm(gain=vector, bias=vector) if params.norm else None,
        out=Linear(weight=out, bias=bias),
    )


def logits(params: CharacterMLP, tokens_BT: Int[Array, "B T"], watch: Watch = unwatched) -> Float[Array, "B V"]:
    """Logits of the character after each window."""
    hidden_BD = before_tanh(params, tokens_BT)
    if params.norm:
        hidden_BD = batch_norm(params.norm, hidden_BD)
    hidden_BD = watch("tanh 1", jnp.tanh(hidden_BD))
    return linear(params.out, hidden_BD)


def before_tanh(params: CharacterMLP, tokens_BT: Int[Array, "B T"]) -> Float[Array, "B D"]:
    return linear(params.hidden, params.embedding[tokens_BT], n_inputs=2)


def calibrate(params: CharacterMLP, tokens_BT: Int[Array, "B T"]) -> CharacterMLP:
    """For evaluation: the same parameters with the norm's moments computed from these windows."""
    if params.norm is None:
        return params
    return dataclasses.replace(params, norm=bn.calibrate(params.norm, before_tanh(params, tokens_BT)))
