"""Multi-head attention (Vaswani et al. 2017, §3.2): each query takes a weighted mean of the values it may attend to.

One formula serves training and decoding; only the mask differs. In training a position attends to itself and to all
earlier positions. With a cache (`llm_jax.layers.cache`) it attends to every token that its row has written so far. Left
out: dropout on the attention weights, because fused kernels do not support it.
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
    """Projects to queries, keys and values with one matrix product."""
    # split, not three slices: the gradient of a split is one concatenation; slices would pad with zeros and add.
    q_BTNH, k_BTNH, v_BTNH = (x.squeeze(2) for x in jnp.split(linear(layer, x_BTD), 3, axis=2))
    return q_BTNH, k_BTNH, v_BTNH


def attend(
    q_BTNH: Float[Array, "B T N H"],
    k_BSNH: Float[Array, "B S N H"],
    v_BSNH: Float[Array, "B S N H"],
    mask_BTS: Bool[Array, "#B T S"],
) -> Float[Array, "B T N H"]:
    """softmax(q·kᵀ/√H)·v (Vaswani et al. 2017, eq. 1), over the keys where the mask is True. Softmax in float32."""
    scores_BNTS = jnp.einsum("BTNH,BSNH->BNTS", q_BTNH, k_BSNH, preferred_element_type=jnp.float32)
    scores_BNTS *= q_BTNH.shape[-1] ** -0.5
    scores_BNTS = jnp.where(mask_BTS[:, None], scores_BNTS, jnp.finfo(jnp.float32).min)
    weights_BNTS = jax.nn.softmax(scores_BNTS, axis=-1)
    return jnp.einsum("BNTS,BSNH->BTNH", weights_BNTS.astype(v_BSNH.dtype), v_BSNH)


def causal_attend(
    q_BTNH: Float[Array, "B T N H"], k_BTNH: Float[Array, "B T N H"], v_BTNH: Float[Array, "B T N H"]
) -> Float[Array, "B T N H"]:
    """`attend` with the causal mask: each position attends to itself and to all earlier positions."""
    position_T = jnp.arange(q_BTNH.shape[1])
    return attend(q_BTNH, k_BTNH, v_BTNH, (position_T[:, None] >= position_T)[None])


def cached_attend(
    q_BTNH: Float[Array, "B T N H"], cache: LayerCache, mask_BTS: Bool[Array, "B T S"]
) -> Float[Array, "B T N H"]:
    """`attend` over the keys and values of a cache."""
    k_BSNH, v_BSNH = (heads_last(x_RSH, q_BTNH.shape[0]) for x_RSH in (cache.k_RSH, cache.v_RSH))
    return attend(q_BTNH, k_BSNH, v_BSNH, mask_BTS)
