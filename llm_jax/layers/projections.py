"""The projections of attention: to queries, keys and values, and back to the model's width (Vaswani et al. 2017).

GPT-2 has one matrix for all three (`Linear`); models with rotary positions or grouped heads have three (`Projections`),
which decoding joins to one (`Joined`).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from llm_jax.config import DecoderConfig
from llm_jax.layers.adapted import Adapted
from llm_jax.layers.linear import Linear, init_linear, linear
from llm_jax.layers.norm import RMSNorm, init_rms_norm
from llm_jax.shapes import Array, Float, Key, constant, pytree


@pytree
class Projections:
    """Queries, keys and values by three matrices."""

    q: Linear | Adapted  # D → (N, H)
    k: Linear | Adapted  # D → (K, H)
    v: Linear | Adapted  # D → (K, H)


@pytree
class Joined:
    """The three matrices of `Projections` side by side, for decoding: one product instead of three."""

    every: Linear  # D → (N + 2K, H)
    n_kv_heads: int = constant()


@pytree
class Attention:
    qkv: Linear | Adapted | Projections | Joined  # D → (3, N, H), or three matrices
    out: Linear | Adapted  # (N, H) → D
    q_norm: RMSNorm | None = None  # over H
    k_norm: RMSNorm | None = None


def init_attention(key: Key[Array, ""], config: DecoderConfig, std: float, residual_std: float) -> Attention:
    qkv_key, out_key = jax.random.split(key)
    width, heads, kv_heads = config.d_model, (config.n_heads, config.d_head), (config.kv_heads, config.d_head)
    has_bias = config.attention_bias != "none"
    if config.is_qkv_fused:
        qkv = init_linear(qkv_key, (width,), (3, *heads), std, has_bias)
    else:
        q, k, v = (
            init_linear(one_key, (width,), outputs, std, has_bias)
            for one_key, outputs in zip(jax.random.split(qkv_key, 3), (heads, kv_heads, kv_heads), strict=True)
        )
        qkv = Projections(q, k, v)
    q_norm, k_norm = (init_rms_norm(config.d_head) if config.query_key_norm else None for _ in range(2))
    out = init_linear(out_key, heads, (width,), residual_std, config.attention_bias == "all")
    return Attention(qkv=qkv, out=out, q_norm=q_norm, k_norm=k_norm)


def queries_keys_values(
    layer: Linear | Adapted | Projections | Joined, x_BTD: Float[Array, "B T D"], linear: Callable[..., Array] = linear
) -> tuple[Float[Array, "B T N H"], Float[Array, "B T K H"], Float[Array, "B T K H"]]:
    """Projects to queries, keys and values, with one matrix product or with three."""
    if isinstance(layer, Projections):
        return linear(layer.q, x_BTD), linear(layer.k, x_BTD), linear(layer.v, x_BTD)
    if isinstance(layer, Joined):
        every = linear(layer.every, x_BTD)
        keys, values = every.shape[2] - 2 * layer.n_kv_heads, every.shape[2] - layer.n_kv_heads
        return every[:, :, :keys], every[:, :, keys:values], every[:, :, values:]
    # split, not three slices: the gradient of a split is one concatenation; slices would pad with zeros and add.
    q_BTNH, k_BTNH, v_BTNH = (x.squeeze(2) for x in jnp.split(linear(layer, x_BTD), 3, axis=2))
    return q_BTNH, k_BTNH, v_BTNH
