"""BERT: `BertModel`, and `BertForMaskedLM` with its head. Sentence encoders such as MiniLM have this class.

The head of the next-sentence task and the pooler behind it are left out: no program here asks for them.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llm_jax.hf.families import fields as read_fields
from llm_jax.hf.families.family import Row
from llm_jax.models.encoder.config import EncoderConfig

NAME = "BERT"
MODEL_TYPE = "bert"
ARCHITECTURE, WITH_HEAD = "BertModel", "BertForMaskedLM"
KNOWN = (ARCHITECTURE, WITH_HEAD, "BertForPreTraining")
PREFIX = "bert."  # of all names but the head's, in files of a class with a head
OLDER = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}  # TensorFlow's, in older files
IGNORED = ("pooler.", "cls.seq_relationship.", "cls.predictions.decoder.", "embeddings.position_ids")

MODEL = (
    Row("token_embedding", "embeddings.word_embeddings.weight", "V D"),
    Row("position_embedding", "embeddings.position_embeddings.weight", "P D"),
    Row("segment_embedding", "embeddings.token_type_embeddings.weight", "U D"),
    Row("norm.gain", "embeddings.LayerNorm.weight", "D"),
    Row("norm.bias", "embeddings.LayerNorm.bias", "D"),
)
BLOCK_PREFIX = "encoder.layer.{}."
BLOCK = (
    *(
        row
        for ours, theirs in (("q", "query"), ("k", "key"), ("v", "value"))
        for row in (
            Row(f"attention.qkv.{ours}.weight", f"attention.self.{theirs}.weight", "NH D", is_transposed=True),
            Row(f"attention.qkv.{ours}.bias", f"attention.self.{theirs}.bias", "NH"),
        )
    ),
    Row("attention.out.weight", "attention.output.dense.weight", "D NH", is_transposed=True),
    Row("attention.out.bias", "attention.output.dense.bias", "D"),
    Row("norm_1.gain", "attention.output.LayerNorm.weight", "D"),
    Row("norm_1.bias", "attention.output.LayerNorm.bias", "D"),
    Row("mlp.up.weight", "intermediate.dense.weight", "F D", is_transposed=True),
    Row("mlp.up.bias", "intermediate.dense.bias", "F"),
    Row("mlp.down.weight", "output.dense.weight", "D F", is_transposed=True),
    Row("mlp.down.bias", "output.dense.bias", "D"),
    Row("norm_2.gain", "output.LayerNorm.weight", "D"),
    Row("norm_2.bias", "output.LayerNorm.bias", "D"),
)
HEAD = (
    Row("masked_head.dense.weight", "cls.predictions.transform.dense.weight", "D D", is_transposed=True),
    Row("masked_head.dense.bias", "cls.predictions.transform.dense.bias", "D"),
    Row("masked_head.norm.gain", "cls.predictions.transform.LayerNorm.weight", "D"),
    Row("masked_head.norm.bias", "cls.predictions.transform.LayerNorm.bias", "D"),
    Row("masked_head.bias", "cls.predictions.bias", "V"),
)
SIZES = {
    "vocab_size": "vocab_size",
    "max_position_embeddings": "context_length",
    "hidden_size": "d_model",
    "num_attention_heads": "n_heads",
    "num_hidden_layers": "n_layers",
    "intermediate_size": "mlp_width",
}


def rows(config: EncoderConfig) -> Iterator[Row]:
    """The rows of every tensor of this config, blocks counted out; names are without prefix."""
    for row in (*MODEL, *(HEAD if config.has_masked_head else ())):
        if config.n_segments or row.ours != "segment_embedding":
            yield row._replace(ours=f".{row.ours}")
    for i in range(config.n_layers):
        for row in BLOCK:
            yield row._replace(ours=f".blocks[{i}].{row.ours}", theirs=BLOCK_PREFIX.format(i) + row.theirs)


def shape(row: Row, config: EncoderConfig) -> tuple[int, ...]:
    """The shape of a tensor in the files."""
    sizes = {
        "V": config.vocab_size,
        "P": config.context_length,
        "U": config.n_segments,
        "D": config.d_model,
        "N": config.n_heads,
        "H": config.d_head,
        "F": config.mlp_width,
    }
    return tuple(math.prod(sizes[letter] for letter in group) for group in row.letters.split())


def saved(name: str, config: EncoderConfig) -> str:
    """A tensor's name as the class saves it: with a head, all but the head have the prefix."""
    return PREFIX + name if config.has_masked_head and not name.startswith("cls.") else name


def named(name: str) -> str:
    """The table's name of a tensor in a file, which may have a prefix or TensorFlow's name of a norm's parameter."""
    name = name.removeprefix(PREFIX)
    for older, newer in OLDER.items():
        if name.endswith(older):
            return name.removesuffix(older) + newer
    return name


def read(path: Path, fields: Mapping[str, Any]) -> EncoderConfig:
    """The config of a BERT. Raises ValueError naming the file, the field and its value."""
    architectures = fields.get("architectures") or [ARCHITECTURE]
    known = isinstance(architectures, list) and [name for name in architectures if name in KNOWN]
    if fields.get("model_type") != MODEL_TYPE or not known:
        raise ValueError(
            f"{path}: model_type {fields.get('model_type')!r}, architectures {architectures}; an encoder here is "
            f"{MODEL_TYPE!r} ({' or '.join(KNOWN)})"
        )
    read_fields.refuse_others(
        path,
        fields,
        {
            "position_embedding_type": ("absolute",),
            "is_decoder": (False,),
            "add_cross_attention": (False,),
            "quantization_config": (None,),
            "auto_map": (None,),
            "tie_word_embeddings": (True,),
        },
    )
    sizes: dict[str, Any] = {ours: read_fields.whole(path, fields, theirs, NAME) for theirs, ours in SIZES.items()}
    return EncoderConfig(
        **sizes,
        n_segments=read_fields.whole(path, {"type_vocab_size": 2, **fields}, "type_vocab_size", NAME),
        norm_epsilon=read_fields.fraction(path, fields, "layer_norm_eps", 1e-12),
        activation=read_fields.activation(path, fields, "hidden_act", "gelu"),
        has_masked_head=known[0] != ARCHITECTURE,
    )


def write(config: EncoderConfig) -> dict[str, Any]:
    """The fields that transformers reads. Raises ValueError for a pre-norm encoder, which no BERT class computes."""
    if config.norm != "post":
        raise ValueError("no BERT of transformers is pre-norm: build the encoder with norm='post' to export it")
    return {
        "architectures": [WITH_HEAD if config.has_masked_head else ARCHITECTURE],
        "model_type": MODEL_TYPE,
        **{theirs: getattr(config, ours) for theirs, ours in SIZES.items()},
        "type_vocab_size": config.n_segments,
        "layer_norm_eps": config.norm_epsilon,
        "hidden_act": read_fields.ACTIVATIONS[config.activation][0],
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "dtype": "float32",
    }
