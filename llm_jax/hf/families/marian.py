"""Marian: `MarianMTModel`, the encoder–decoder of Vaswani et al. 2017 with sines first in its positions.

One embedding serves source, target and head. The bias of the logits is a buffer of zeros that our model does not have.
Only writing is here: no program reads a Marian's files.
"""

import math
from collections.abc import Iterator
from typing import Any

from llm_jax.hf.families import fields as read_fields
from llm_jax.hf.families.family import Row
from llm_jax.models.encoder_decoder.config import EncoderDecoderConfig

ARCHITECTURE, MODEL_TYPE = "MarianMTModel", "marian"
PREFIX = "model."


def _attention(ours: str, theirs: str) -> Iterator[Row]:
    for name in "qkv":
        yield Row(f"{ours}.qkv.{name}.weight", f"{theirs}.{name}_proj.weight", "NH D", is_transposed=True)
        yield Row(f"{ours}.qkv.{name}.bias", f"{theirs}.{name}_proj.bias", "NH")
    yield Row(f"{ours}.out.weight", f"{theirs}.out_proj.weight", "D NH", is_transposed=True)
    yield Row(f"{ours}.out.bias", f"{theirs}.out_proj.bias", "D")


def _norm(ours: str, theirs: str) -> tuple[Row, Row]:
    return Row(f"{ours}.gain", f"{theirs}.weight", "D"), Row(f"{ours}.bias", f"{theirs}.bias", "D")


MLP = (
    Row("mlp.up.weight", "fc1.weight", "F D", is_transposed=True),
    Row("mlp.up.bias", "fc1.bias", "F"),
    Row("mlp.down.weight", "fc2.weight", "D F", is_transposed=True),
    Row("mlp.down.bias", "fc2.bias", "D"),
)
ENCODER_BLOCK = (
    *_attention("attention", "self_attn"),
    *_norm("norm_1", "self_attn_layer_norm"),
    *MLP,
    *_norm("norm_2", "final_layer_norm"),
)
DECODER_BLOCK = (
    *_attention("attention", "self_attn"),
    *_norm("norm_1", "self_attn_layer_norm"),
    *_attention("cross_attention", "encoder_attn"),
    *_norm("norm_2", "encoder_attn_layer_norm"),
    *MLP,
    *_norm("norm_3", "final_layer_norm"),
)


def rows(config: EncoderDecoderConfig) -> Iterator[Row]:
    """The rows of every tensor of this config, blocks counted out; names are with prefix."""
    yield Row(".token_embedding", f"{PREFIX}shared.weight", "V D")
    for side, block, count in (
        ("encoder", ENCODER_BLOCK, config.n_encoder_layers),
        ("decoder", DECODER_BLOCK, config.n_decoder_layers),
    ):
        for i in range(count):
            for row in block:
                theirs = f"{PREFIX}{side}.layers.{i}.{row.theirs}"
                yield row._replace(ours=f".{side}_blocks[{i}].{row.ours}", theirs=theirs)


def shape(row: Row, config: EncoderDecoderConfig) -> tuple[int, ...]:
    """The shape of a tensor in the files."""
    sizes = {
        "V": config.vocab_size,
        "D": config.d_model,
        "N": config.n_heads,
        "H": config.d_head,
        "F": config.mlp_width,
    }
    return tuple(math.prod(sizes[letter] for letter in group) for group in row.letters.split())


def write(config: EncoderDecoderConfig, pad_id: int, begin_id: int, end_id: int) -> dict[str, Any]:
    """The fields that transformers reads. Raises ValueError for what no Marian computes."""
    if config.norm != "post" or config.norm_epsilon != 1e-5:
        raise ValueError(
            f"a Marian is post-norm with ε = 1e-5; this model is {config.norm}-norm with ε = {config.norm_epsilon}"
        )
    return {
        "architectures": [ARCHITECTURE],
        "model_type": MODEL_TYPE,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.context_length,
        "d_model": config.d_model,
        "encoder_layers": config.n_encoder_layers,
        "decoder_layers": config.n_decoder_layers,
        **{f"{side}_attention_heads": config.n_heads for side in ("encoder", "decoder")},
        **{f"{side}_ffn_dim": config.mlp_width for side in ("encoder", "decoder")},
        "activation_function": read_fields.ACTIVATIONS[config.activation][0],
        "scale_embedding": True,
        "dropout": 0.0,
        "pad_token_id": pad_id,
        "decoder_start_token_id": begin_id,
        "eos_token_id": end_id,
        "forced_eos_token_id": None,
        "dtype": "float32",
    }
