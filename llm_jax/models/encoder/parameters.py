"""The parameters of an encoder: a tree, and its initialisation (Devlin et al. 2019: normal(0, 0.02))."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from llm_jax.layers.linear import Linear, init_linear
from llm_jax.layers.mlp import MLP, init_mlp
from llm_jax.layers.norm import Norm, init_norm
from llm_jax.layers.projections import Attention, Projections
from llm_jax.models.encoder.config import EncoderConfig
from llm_jax.shapes import Array, Float, Key, pytree

STD = 0.02


@pytree
class Block:
    attention: Attention
    norm_1: Norm  # of the attention's half block: after it (post) or before it (pre)
    mlp: MLP
    norm_2: Norm


@pytree
class MaskedHead:
    """h → norm(gelu(h·W + b))·Eᵀ + bias, where E is the token embedding."""

    dense: Linear  # D → D
    norm: Norm
    bias: Float[Array, "V"]


@pytree
class Encoder:
    token_embedding: Float[Array, "V D"]
    position_embedding: Float[Array, "P D"]
    segment_embedding: Float[Array, "segments D"] | None
    norm: Norm  # of the embedding (post) or of the last block (pre)
    blocks: tuple[Block, ...]
    masked_head: MaskedHead | None = None


def init(key: Key[Array, ""], config: EncoderConfig) -> Encoder:
    """Fresh float32 parameters: normal(0, 0.02), zero biases, unit gains."""
    tokens, positions, segments, head, *blocks = jax.random.split(key, 4 + config.n_layers)

    def table(key: Key[Array, ""], rows: int) -> Float[Array, "rows D"]:
        return STD * jax.random.normal(key, (rows, config.d_model))

    return Encoder(
        token_embedding=table(tokens, config.vocab_size),
        position_embedding=table(positions, config.context_length),
        segment_embedding=table(segments, config.n_segments) if config.n_segments else None,
        norm=init_norm(config.d_model),
        blocks=tuple(init_block(block, config) for block in blocks),
        masked_head=_init_head(head, config) if config.has_masked_head else None,
    )


def init_block(key: Key[Array, ""], config: EncoderConfig, std: float = STD, mlp_std: float = STD) -> Block:
    *attention, hidden = jax.random.split(key, 5)
    return Block(
        attention=init_projected(attention, config, std),
        norm_1=init_norm(config.d_model),
        mlp=init_mlp(hidden, config.d_model, config.mlp_width, mlp_std, mlp_std),
        norm_2=init_norm(config.d_model),
    )


def init_projected(keys: Sequence[Key[Array, ""]], config: EncoderConfig, std: float) -> Attention:
    """Attention with three matrices to queries, keys and values, and one back, all with biases, from four keys."""
    width, heads = (config.d_model,), (config.n_heads, config.d_head)
    q, k, v, out = keys
    projections = Projections(*(init_linear(one, width, heads, std) for one in (q, k, v)))
    return Attention(qkv=projections, out=init_linear(out, heads, width, std))


def dimension_letters(config: EncoderConfig) -> Encoder:
    """A tree like the parameters, each leaf a string with one letter per axis."""
    head = MaskedHead(dense=_letters("DD", "D"), norm=_norm_letters(), bias=_any("V"))
    return Encoder(
        token_embedding=_any("VD"),
        position_embedding=_any("PD"),
        segment_embedding=_any("VD") if config.n_segments else None,
        norm=_norm_letters(),
        blocks=(block_letters(),) * config.n_layers,
        masked_head=head if config.has_masked_head else None,
    )


def block_letters() -> Block:
    return Block(
        attention=attention_letters(),
        norm_1=_norm_letters(),
        mlp=MLP(up=_letters("DF", "F"), down=_letters("FD", "D")),
        norm_2=_norm_letters(),
    )


def attention_letters() -> Attention:
    return Attention(qkv=Projections(*(_letters("DNH", "NH") for _ in range(3))), out=_letters("NHD", "D"))


def _letters(weight: str, bias: str) -> Linear:
    return Linear(weight=_any(weight), bias=_any(bias))


def _norm_letters() -> Norm:
    return Norm(gain=_any("D"), bias=_any("D"))


def _any(text: str) -> Any:
    """`text` itself, typed Any: the leaves of `dimension_letters` are strings where annotations expect arrays."""
    return text


def _init_head(key: Key[Array, ""], config: EncoderConfig) -> MaskedHead:
    dense = init_linear(key, (config.d_model,), (config.d_model,), STD)
    return MaskedHead(dense=dense, norm=init_norm(config.d_model), bias=jnp.zeros(config.vocab_size))
