"""The parameters of a GPT-2: a tree, its initialisation (Radford et al. 2019, §2.3), and the letters of its axes."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from llm_jax.config import GPTConfig
from llm_jax.layers.attention import Attention, init_attention
from llm_jax.layers.linear import Linear
from llm_jax.layers.mlp import MLP, init_mlp
from llm_jax.layers.norm import Norm, init_norm
from llm_jax.shapes import Array, Float, Key, pytree


@pytree
class Block:
    norm_1: Norm
    attention: Attention
    norm_2: Norm
    mlp: MLP


@pytree
class GPT:
    token_embedding: Float[Array, "V D"]  # V padded
    position_embedding: Float[Array, "P D"]
    blocks: tuple[Block, ...]
    norm: Norm
    head: Float[Array, "V D"] | None = None  # None: the token embedding

    @property
    def head_VD(self) -> Float[Array, "V D"]:
        """The matrix whose product with a hidden state gives the logits."""
        return self.token_embedding if self.head is None else self.head


def init(key: Key[Array, ""], config: GPTConfig) -> GPT:
    """Fresh float32 parameters: normal(0, 0.02), residual projections 0.02/√(2L), zero biases, unit gains.

    The rows that pad the vocabulary are zero and stay zero, because their gradient is zero.
    """
    std, residual_std = 0.02, 0.02 / math.sqrt(2 * config.n_layers)
    token_key, position_key, *block_keys = jax.random.split(key, 2 + config.n_layers)

    def init_block(block_key: Key[Array, ""]) -> Block:
        attention_key, mlp_key = jax.random.split(block_key)
        return Block(
            norm_1=init_norm(config.d_model),
            attention=init_attention(attention_key, config.d_model, config.n_heads, std, residual_std),
            norm_2=init_norm(config.d_model),
            mlp=init_mlp(mlp_key, config.d_model, config.d_hidden, std, residual_std),
        )

    def init_tokens(token_key: Key[Array, ""]) -> Float[Array, "V D"]:
        tokens_VD = std * jax.random.normal(token_key, (config.vocab_size, config.d_model))
        return jnp.pad(tokens_VD, ((0, config.padded_vocab_size - config.vocab_size), (0, 0)))

    return GPT(
        token_embedding=init_tokens(token_key),
        position_embedding=std * jax.random.normal(position_key, (config.context_length, config.d_model)),
        blocks=tuple(map(init_block, block_keys)),
        norm=init_norm(config.d_model),
        head=None if config.tied_head else init_tokens(jax.random.fold_in(token_key, 1)),
    )


def dimension_letters(config: GPTConfig) -> GPT:
    """A tree like the parameters, each leaf a string with one letter per axis (and the digit 3 for the 3 of qkv)."""
    token, position, vector = _letters("VD"), _letters("PD"), _letters("D")
    return GPT(
        token_embedding=token,
        position_embedding=position,
        blocks=(block_letters(),) * config.n_layers,
        norm=Norm(gain=vector, bias=vector),
        head=None if config.tied_head else token,
    )


def block_letters() -> Block:
    def affine(inputs: str, outputs: str) -> Linear:
        return Linear(weight=_letters(inputs + outputs), bias=_letters(outputs))

    norm = Norm(gain=_letters("D"), bias=_letters("D"))
    return Block(
        norm_1=norm,
        attention=Attention(qkv=affine("D", "3NH"), out=affine("NH", "D")),
        norm_2=norm,
        mlp=MLP(up=affine("D", "F"), down=affine("F", "D")),
    )


def _letters(text: str) -> Any:
    """`text` itself, typed Any: the leaves of `dimension_letters` are strings where annotations expect arrays."""
    return text
