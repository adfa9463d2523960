"""Attention over a KV-cache in the cache's own layout, batch and heads merged.

The formula makes (B, S, N, H) of it first. In this layout a batched product reads the cache where it lies, so that XLA
neither transposes nor copies it in a decoding step. That was seen in the compiled step; its gain by itself was not
measured.
"""

import jax.numpy as jnp

from llm_jax.kernels.attention_in_pieces import masked_softmax
from llm_jax.layers.cache import LayerCache, heads_first, heads_last
from llm_jax.shapes import Array, Bool, Float


def attend_in_cache_layout(
    q_BTNH: Float[Array, "B T N H"], cache: LayerCache, mask_BTS: Bool[Array, "B T S"]
) -> Float[Array, "B T N H"]:
    """softmax(q·kᵀ/√H)·v over a cache. True in the mask means: look."""
    batch, length, n_heads, d_head = q_BTNH.shape
    q_RTH = heads_first(q_BTNH)
    scores_RTS = jnp.einsum("RTH,RSH->RTS", q_RTH, cache.k_RSH, preferred_element_type=jnp.float32)
    scores_BNTS = scores_RTS.reshape(batch, n_heads, length, -1)
    weights_BNTS = masked_softmax(scores_BNTS, mask_BTS, d_head)
    weights_RTS = weights_BNTS.reshape(scores_RTS.shape).astype(cache.v_RSH.dtype)
    return heads_last(jnp.einsum("RTS,RSH->RTH", weights_RTS, cache.v_RSH), batch)
