"""The parameters of an encoder: a tree, and its initialisation (Devlin et al. 2019: normal(0, 0.02))."""

import jax
import jax.numpy as jnp

from llm_jax.layers.attention import Attention, Projections
from llm_jax.layers.linear import Linear, init_linear
from llm_jax.layers.mlp import MLP, init_mlp
from llm_jax.layers.norm import Norm, init_norm
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
        blocks=tuple(_init_block(block, config) for block in blocks),
        masked_head=_init_head(head, config) if config.has_masked_head else None,
    )


def _init_block(key: Key[Array, ""], config: EncoderConfig) -> Block:
    q, k, v, out, hidden = jax.random.split(key, 5)
    width, heads = (config.d_model,), (config.n_heads, config.d_head)
    projections = Projections(*(init_linear(one, width, heads, STD) for one in (q, k, v)))
    return Block(
        attention=Attention(qkv=projections, out=init_linear(out, heads, width, STD)),
        norm_1=init_norm(config.d_model),
        mlp=init_mlp(hidden, config.d_model, config.mlp_width, STD, STD),
        norm_2=init_norm(config.d_model),
    )


def _init_head(key: Key[Array, ""], config: EncoderConfig) -> MaskedHead:
    dense = init_linear(key, (config.d_model,), (config.d_model,), STD)
    return MaskedHead(dense=dense, norm=init_norm(config.d_model), bias=jnp.zeros(config.vocab_size))
