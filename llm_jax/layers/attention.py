"""Causal multi-head self-attention with a KV-cache (Vaswani et al. 2017, §3.2), one function for training and decoding.

Without a cache every position attends to itself and what is before it. With one (`llm_jax.layers.cache`) the new keys
and values are written first, then the new queries attend to everything their row has written so far; rows may hold
sequences of different lengths. Left out: dropout of the weights (fused kernels have none) and grouped-query or rotary
variants.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from llm_jax.layers.cache import LayerCache, Window, heads_first, heads_last, write
from llm_jax.layers.linear import Linear, init_linear, linear
from llm_jax.shapes import Array, Bool, Float, Key, pytree

Kernel = Literal["xla", "cudnn"]
PIECES, LONG = 4, 128  # queries are cut into so many pieces from this length on


@pytree
class Attention:
    qkv: Linear  # D → (3, N, H)
    out: Linear  # (N, H) → D


def init_attention(key: Key[Array, ""], d_model: int, n_heads: int, std: float, residual_std: float) -> Attention:
    qkv_key, out_key = jax.random.split(key)
    heads = (n_heads, d_model // n_heads)
    return Attention(
        qkv=init_linear(qkv_key, (d_model,), (3, *heads), std),
        out=init_linear(out_key, heads, (d_model,), residual_std),
    )


def attend(
    q_BTNH: Float[Array, "B T N H"],
    k_BSNH: Float[Array, "B S N H"],
    v_BSNH: Float[Array, "B S N H"],
    mask_BTS: Bool[Array, "#B T S"],
) -> Float[Array, "B T N H"]:
    """softmax(q·kᵀ/√H)·v (Vaswani et al. 2017, eq. 1); scores and softmax in float32. True in the mask means: look."""
    scores_BNTS = jnp.einsum("BTNH,BSNH->BNTS", q_BTNH, k_BSNH, preferred_element_type=jnp.float32)
    weights_BNTS = _softmax(scores_BNTS, mask_BTS, q_BTNH.shape[-1]).astype(v_BSNH.dtype)
    return jnp.einsum("BNTS,BSNH->BTNH", weights_BNTS, v_BSNH)


def cached_attend(
    q_BTNH: Float[Array, "B T N H"], cache: LayerCache, mask_BTS: Bool[Array, "B T S"]
) -> Float[Array, "B T N H"]:
    """`attend` to a cache, in the cache's own layout."""
    batch, length, n_heads, d_head = q_BTNH.shape
    q_RTH = heads_first(q_BTNH)
    scores_RTS = jnp.einsum("RTH,RSH->RTS", q_RTH, cache.k_RSH, preferred_element_type=jnp.float32)
    scores_BNTS = scores_RTS.reshape(batch, n_heads, length, -1)
    weights_RTS = _softmax(scores_BNTS, mask_BTS, d_head).reshape(scores_RTS.shape).astype(cache.v_RSH.dtype)
    return heads_last(jnp.einsum("RTS,RSH->RTH", weights_RTS, cache.v_RSH), batch)


def _softmax(
    scores_BNTS: Float[Array, "B N T S"], mask_BTS: Bool[Array, "#B T S"], d_head: int
) -> Float[Array, "B N T S"]:
    scores_BNTS = scores_BNTS * d_head**-0.5
    scores_BNTS = jnp.where(mask_BTS[:, None], scores_BNTS, jnp.finfo(jnp.float32).min)
    return jax.nn.softmax(scores_BNTS, axis=-1)


def causal_attend(
    q_BTNH: Float[Array, "B T N H"],
    k_BTNH: Float[Array, "B T N H"],
    v_BTNH: Float[Array, "B T N H"],
    kernel: Kernel,
) -> Float[Array, "B T N H"]:
    """`attend` under the causal mask, through cuDNN's fused kernel where asked."""
    if kernel == "cudnn":
        # is_causal, not a mask: cuDNN has no training kernel for a mask alone (jax#28974).
        return jax.nn.dot_product_attention(q_BTNH, k_BTNH, v_BTNH, is_causal=True, implementation="cudnn")
    # Piece by piece, each with no more keys than its last query may look at: three quarters of the scores that the mask
    # would hide are never made.
    length = q_BTNH.shape[1]
    mask_BTS = jnp.tril(jnp.ones((1, length, length), bool))
    size = -(-length // PIECES) if length >= LONG else length
    mixed = []
    for start in range(0, length, size):
        end = min(start + size, length)
        seen = k_BTNH[:, :end], v_BTNH[:, :end], mask_BTS[:, start:end, :end]
        mixed.append(attend(q_BTNH[:, start:end], *seen))
    return jnp.concatenate(mixed, axis=1)


def attention(
    layer: Attention,
    x_BTD: Float[Array, "B T D"],
    cache: LayerCache | None,
    window: Window | None,
    kernel: Kernel,
) -> tuple[Float[Array, "B T D"], LayerCache | None]:
    """Project to queries, keys and values, attend, project back. With a cache, `window` says where and to what."""
    qkv_BT3NH = linear(layer.qkv, x_BTD)
    q_BTNH, k_BTNH, v_BTNH = (qkv_BT3NH[:, :, i] for i in range(3))
    if cache is not None and window is not None:
        cache = write(cache, k_BTNH, v_BTNH, window.start)
    # A chunk as long as the whole cache has nothing before it: prefill runs the same fused kernel as training.
    if cache is None or window is None or cache.k_RSH.shape[1] == x_BTD.shape[1]:
        mixed_BTNH = causal_attend(q_BTNH, k_BTNH, v_BTNH, kernel)
    else:
        mixed_BTNH = cached_attend(q_BTNH, cache, window.mask_BTS)
    return linear(layer.out, mixed_BTNH, n_inputs=2), cache
