"""The parameters of a decoder: a tree, its initialisation (Radford et al. 2019, §2.3), and the letters of its axes."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from llm_jax.config import DecoderConfig
from llm_jax.layers.linear import Linear
from llm_jax.layers.mlp import MLP, JoinedMLP, init_mlp
from llm_jax.layers.norm import Norm, RMSNorm, init_norm, init_rms_norm
from llm_jax.layers.projections import Attention, Projections, init_attention
from llm_jax.shapes import Array, Float, Key, pytree


@pytree
class Block:
    norm_1: Norm | RMSNorm
    attention: Attention
    norm_2: Norm | RMSNorm
    mlp: MLP | JoinedMLP


@pytree
class Decoder:
    token_embedding: Float[Array, "V D"]  # V padded
    position_embedding: Float[Array, "P D"] | None  # None: rotary positions
    blocks: tuple[Block, ...]
    norm: Norm | RMSNorm
    head: Float[Array, "V D"] | None = None  # None: the token embedding

    @property
    def head_VD(self) -> Any:
        """The matrix whose product with a hidden state gives the logits; in decoding it may be `narrow.Int8Rows`."""
        return self.token_embedding if self.head is None else self.head


def init(key: Key[Array, ""], config: DecoderConfig) -> Decoder:
    """Fresh float32 parameters: normal(0, 0.02), residual projections 0.02/√(2L), zero biases, unit gains.

    The rows that pad the vocabulary are zero and stay zero, because their gradient is zero.
    """
    std, residual_std = 0.02, 0.02 / math.sqrt(2 * config.n_layers)
    token_key, position_key, *block_keys = jax.random.split(key, 2 + config.n_layers)
    # Called for every norm: two leaves that share one array could not both be donated.
    fresh_norm = partial(init_norm if config.norm == "layer" else init_rms_norm, config.d_model)

    def init_block(block_key: Key[Array, ""]) -> Block:
        attention_key, mlp_key = jax.random.split(block_key)
        width, hidden = config.d_model, config.d_hidden
        return Block(
            norm_1=fresh_norm(),
            attention=init_attention(attention_key, config, std, residual_std),
            norm_2=fresh_norm(),
            mlp=init_mlp(mlp_key, width, hidden, std, residual_std, config.gated_mlp, config.mlp_bias),
        )

    def init_tokens(token_key: Key[Array, ""]) -> Float[Array, "V D"]:
        tokens_VD = std * jax.random.normal(token_key, (config.vocab_size, config.d_model))
        return jnp.pad(tokens_VD, ((0, config.padded_vocab_size - config.vocab_size), (0, 0)))

    def init_positions(position_key: Key[Array, ""]) -> Float[Array, "P D"]:
        return std * jax.random.normal(position_key, (config.n_positions, config.d_model))

    return Decoder(
        token_embedding=init_tokens(token_key),
        position_embedding=init_positions(position_key) if config.n_positions else None,
        blocks=tuple(map(init_block, block_keys)),
        norm=fresh_norm(),
        head=None if config.tied_head else init_tokens(jax.random.fold_in(token_key, 1)),
    )


def dimension_letters(config: DecoderConfig) -> Decoder:
    """A tree like the parameters, each leaf a string with one letter per axis (and the digit 3 for the 3 of qkv)."""
    return Decoder(
        token_embedding=_letters("VD"),
        position_embedding=_letters("PD") if config.n_positions else None,
        blocks=(block_letters(config),) * config.n_layers,
        norm=_norm_letters(config),
        head=None if config.tied_head else _letters("VD"),
    )


def block_letters(config: DecoderConfig) -> Block:
    def affine(inputs: str, outputs: str, has_bias: bool) -> Linear:
        return Linear(weight=_letters(inputs + outputs), bias=_letters(outputs) if has_bias else None)

    has_bias = config.attention_bias != "none"
    if config.is_qkv_fused:
        qkv = affine("D", "3NH", has_bias)
    else:
        qkv = Projections(*(affine("D", outputs, has_bias) for outputs in ("NH", "KH", "KH")))
    head_norm = RMSNorm(gain=_letters("H")) if config.query_key_norm else None
    out = affine("NH", "D", config.attention_bias == "all")
    up = affine("D", "F", config.mlp_bias)
    return Block(
        norm_1=_norm_letters(config),
        attention=Attention(qkv=qkv, out=out, q_norm=head_norm, k_norm=head_norm),
        norm_2=_norm_letters(config),
        mlp=MLP(up=up, down=affine("F", "D", config.mlp_bias), gate=up if config.gated_mlp else None),
    )


def _norm_letters(config: DecoderConfig) -> Norm | RMSNorm:
    gain = _letters("D")
    return Norm(gain=gain, bias=gain) if config.norm == "layer" else RMSNorm(gain=gain)


def _letters(text: str) -> Any:
    """`text` itself, typed Any: the leaves of `dimension_letters` are strings where annotations expect arrays."""
    return text
