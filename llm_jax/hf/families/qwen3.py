"""Qwen 3: `Qwen3ForCausalLM`, a Llama whose queries and keys are normalised. Its mixtures of experts are not read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_jax.config import DecoderConfig
from llm_jax.hf.families import fields as read_fields
from llm_jax.hf.families import llama

HEAD_WIDTH = 128  # where a file names none


def read(path: Path, fields: Mapping[str, Any]) -> DecoderConfig:
    has_bias = read_fields.switch(path, fields, "attention_bias", False)
    return DecoderConfig(
        **llama.shaped(path, {"head_dim": HEAD_WIDTH, **fields}, "Qwen3"),
        attention_bias="all" if has_bias else "none",
        mlp_bias=False,
        query_key_norm=True,
    )


def write(config: DecoderConfig) -> dict[str, Any]:
    return llama.written(config) | {"attention_bias": config.attention_bias == "all", "use_sliding_window": False}


def fits(config: DecoderConfig) -> bool:
    is_qwen = config.query_key_norm and config.attention_bias != "qkv" and not config.mlp_bias
    return llama.is_llama_shaped(config) and is_qwen


FAMILY = llama.family("Qwen3", "qwen3", "Qwen3ForCausalLM", read, write, fits)
