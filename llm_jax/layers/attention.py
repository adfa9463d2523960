"""Multi-head attention (Vaswani et al. 2017, §3.2): each position takes a weighted mean of the values it may look at.

One formula serves training and decoding; they differ in the mask. In training a position looks at itself and what is
before it. With a cache (`llm_jax.layers.cache`) it looks at what its row has written so far. Left out: dropout of the
weights, which fused kernels do not have.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from llm_jax.layers.cache import LayerCache, heads_last
from llm_jax.layers.linear import Linear, init_linear, linear
from llm_jax.shapes import Array, Bool, Float, Key, pytree


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


def queries_keys_values(
    layer: Linear, x_BTD: Float[Array, "B T D"], linear: Callable[..., Array] = linear
) -> tuple[Float[Array, "B T N H"], ...]:
    """The three projections, from one product."""
    # split, not three slices: the gradient of a split puts the three side by side, that of slices pads and adds them.
    q_BTNH, k_BTNH, v_BTNH = (x.squeeze(2) for x in jnp.split(linear(layer, x_BTD), 3, axis=2))
    return q_BTNH, k_BTNH, v_BTNH


def attend(
    q_BTNH: Float[Array, "B T N H"],
    k_BSNH: Float[Array, "B S N H"],
    v_BSNH: Float[Array, "B S N H"],
    mask_BTS: Bool[Array, "#B T S"],
) -> Float[Array, "B T N H"]:
    """softmax(q·kᵀ/√H)·v (Vaswani et al. 2017, eq. 1). Scores and softmax in float32. True in the mask means: look."""
    scores_BNTS = jnp.einsum("BTNH,BSNH->BNTS", q_BTNH, k_BSNH, preferred_element_type=jnp.float32)
    scores_BNTS *= q_BTNH.shape[-1] ** -0.5
    scores_BNTS = jnp.where(mask_BTS[:, None], scores_BNTS, jnp.finfo(jnp.float32).min)
    weights_BNTS = jax.nn.softmax(scores_BNTS, axis=-1)
    return jnp.einsum("BNTS,BSNH->BTNH", weights_BNTS.astype(v_BSNH.dtype), v_BSNH)


def causal_attend(
    q_BTNH: Float[Array, "B T N H"], k_BTNH: Float[Array, "B T N H"], v_BTNH: Float[Array, "B T N H"]
) -> Float[Array, "B T N H"]:
    """`attend`, each position to itself and those before it."""
    position_T = jnp.arange(q_BTNH.shape[1])
    return attend(q_BTNH, k_BTNH, v_BTNH, (position_T[:, None] >= position_T)[None])


def cached_attend(
    q_BTNH: Float[Array, "B T N H"], cache: LayerCache, mask_BTS: Bool[Array, "B T S"]
) -> Float[Array, "B T N H"]:
    """`attend` to the keys and values of a cache."""
    k_BSNH, v_BSNH = (heads_last(x_RSH, q_BTNH.shape[0]) for x_RSH in (cache.k_RSH, cache.v_RSH))
    return attend(q_BTNH, k_BSNH, v_BSNH, mask_BTS)
