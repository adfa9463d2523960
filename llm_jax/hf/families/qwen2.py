"""Qwen 2 and 2.5: `Qwen2ForCausalLM`, a Llama with biases on queries, keys and values."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_jax.config import DecoderConfig
from llm_jax.hf.families import llama


def read(path: Path, fields: Mapping[str, Any]) -> DecoderConfig:
    return DecoderConfig(**llama.shaped(path, fields, "Qwen2"), attention_bias="qkv", mlp_bias=False)


def write(config: DecoderConfig) -> dict[str, Any]:
    return llama.written(config) | {"use_sliding_window": False}


def fits(config: DecoderConfig) -> bool:
    is_qwen = config.attention_bias == "qkv" and not (config.mlp_bias or config.query_key_norm)
    return llama.is_llama_shaped(config) and is_qwen


FAMILY = llama.family("Qwen2", "qwen2", "Qwen2ForCausalLM", read, write, fits)
