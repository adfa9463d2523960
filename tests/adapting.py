"""Tiny bases of three families, and adapters as after some training."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from llm_jax import adapters as lora
from llm_jax.adapters import LoraConfig
from llm_jax.config import DecoderConfig, llama

SIZES = {"vocab_size": 60, "context_length": 32, "d_model": 32, "n_heads": 4, "n_layers": 2}
GPT2 = DecoderConfig(**SIZES)
LLAMA = llama(**SIZES, n_kv_heads=2, mlp_width=48)
QWEN = dataclasses.replace(LLAMA, attention_bias="qkv", tied_head=False)
QWEN3 = dataclasses.replace(LLAMA, query_key_norm=True, head_width=12)
CONFIGS = {"gpt2": GPT2, "llama": LLAMA, "qwen": QWEN, "qwen3": QWEN3}
FOUR = LoraConfig(rank=4, alpha=6.0)  # a scale that is neither 1 nor alpha


def moved(config: DecoderConfig, settings: LoraConfig = FOUR, seed: int = 1) -> lora.Adapters:
    """B is not zero any more. From NumPy, which compiles nothing."""
    random = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda key: lora.init(key, config, settings), jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(0.15 * random.standard_normal(leaf.shape), jnp.float32), shapes)
