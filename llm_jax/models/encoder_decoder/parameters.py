"""The parameters of an encoder–decoder: a tree, its initialisation, and the letters of its axes.

Initialised as tensor2tensor does: matrices by Glorot & Bengio 2010, normal(0, √(2/(inputs + outputs))), the embedding
normal(0, 1/√D), which the model multiplies by √D.
"""

import math
from typing import Any

import jax

from llm_jax.layers.linear import Linear
from llm_jax.layers.mlp import MLP, init_mlp
from llm_jax.layers.norm import Norm, init_norm
from llm_jax.layers.projections import Attention
from llm_jax.models.encoder import parameters as encoder
from llm_jax.models.encoder.parameters import Block
from llm_jax.models.encoder_decoder.config import EncoderDecoderConfig
from llm_jax.shapes import Array, Float, Key, pytree


@pytree
class DecoderBlock:
    attention: Attention  # causal
    norm_1: Norm
    cross_attention: Attention  # queries from the target, keys and values from the source
    norm_2: Norm
    mlp: MLP
    norm_3: Norm


@pytree
class EncoderDecoder:
    token_embedding: Float[Array, "V D"]  # of source and target, and the head
    encoder_blocks: tuple[Block, ...]
    decoder_blocks: tuple[DecoderBlock, ...]
    encoder_norm: Norm | None = None  # pre-norm only: of the last block
    decoder_norm: Norm | None = None


def init(key: Key[Array, ""], config: EncoderDecoderConfig) -> EncoderDecoder:
    """Fresh float32 parameters, zero biases, unit gains."""
    tokens, encoders, decoders = jax.random.split(key, 3)
    width, is_pre = config.d_model, config.norm == "pre"
    std, mlp_std = width**-0.5, math.sqrt(2 / (width + config.mlp_width))

    def decoder_block(key: Key[Array, ""]) -> DecoderBlock:
        *keys, hidden = jax.random.split(key, 9)
        return DecoderBlock(
            attention=encoder.init_projected(keys[:4], config.encoder, std),
            norm_1=init_norm(width),
            cross_attention=encoder.init_projected(keys[4:], config.encoder, std),
            norm_2=init_norm(width),
            mlp=init_mlp(hidden, width, config.mlp_width, mlp_std, mlp_std),
            norm_3=init_norm(width),
        )

    return EncoderDecoder(
        token_embedding=width**-0.5 * jax.random.normal(tokens, (config.vocab_size, width)),
        encoder_blocks=tuple(
            encoder.init_block(one, config.encoder, std, mlp_std)
            for one in jax.random.split(encoders, config.n_encoder_layers)
        ),
        decoder_blocks=tuple(map(decoder_block, jax.random.split(decoders, config.n_decoder_layers))),
        encoder_norm=init_norm(width) if is_pre else None,
        decoder_norm=init_norm(width) if is_pre else None,
    )


def dimension_letters(config: EncoderDecoderConfig) -> EncoderDecoder:
    """A tree like the parameters, each leaf a string with one letter per axis."""
    gain: Any = "D"
    embedding: Any = "VD"
    up: Any = "DF"
    hidden: Any = "F"
    down: Any = "FD"
    norm = Norm(gain=gain, bias=gain)
    attention = encoder.attention_letters()
    block = DecoderBlock(
        attention=attention,
        norm_1=norm,
        cross_attention=attention,
        norm_2=norm,
        mlp=MLP(up=Linear(up, hidden), down=Linear(down, gain)),
        norm_3=norm,
    )
    return EncoderDecoder(
        token_embedding=embedding,
        encoder_blocks=(encoder.block_letters(),) * config.n_encoder_layers,
        decoder_blocks=(block,) * config.n_decoder_layers,
        encoder_norm=norm if config.norm == "pre" else None,
        decoder_norm=norm if config.norm == "pre" else None,
    )
