"""Multi-head attention (Vaswani et al. 2017, §3.2): each query takes a weighted mean of the values it may attend to.

One formula serves training and decoding; only the mask differs. In training a position attends to itself and to all
earlier positions. With a cache (`llm_jax.layers.cache`) it attends to every token that its row has written so far; in
packed rows (`llm_jax.layers.packing`) to the tokens of its own text. Several heads of queries may share one head of
keys and values (grouped queries, Ainslie et al. 2023, §2.2). Left out: dropout on the attention weights, because fused
kernels do not support it.
"""

import jax
import jax.numpy as jnp

from llm_jax.layers.cache import LayerCache, heads_last
from llm_jax.layers.packing import branched_mask, packed_mask
from llm_jax.shapes import Array, Bool, Float, Int


def attend(
    q_BTNH: Float[Array, "B T N H"],
    k_BSKH: Float[Array, "B S K H"],
    v_BSKH: Float[Array, "B S K H"],
    mask_BTS: Bool[Array, "#B T S"],
) -> Float[Array, "B T N H"]:
    """softmax(q·kᵀ/√H)·v (Vaswani et al. 2017, eq. 1), over the keys where the mask is True. Softmax in float32.

    N/K consecutive heads of queries share a head of keys and values.
    """
    n_shared = q_BTNH.shape[2] // k_BSKH.shape[2]
    k_BSNH, v_BSNH = (jnp.repeat(x, n_shared, axis=2) if n_shared > 1 else x for x in (k_BSKH, v_BSKH))
    scores_BNTS = jnp.einsum("BTNH,BSNH->BNTS", q_BTNH, k_BSNH, preferred_element_type=jnp.float32)
    scores_BNTS *= q_BTNH.shape[-1] ** -0.5
    scores_BNTS = jnp.where(mask_BTS[:, None], scores_BNTS, jnp.finfo(jnp.float32).min)
    weights_BNTS = jax.nn.softmax(scores_BNTS, axis=-1)
    return jnp.einsum("BNTS,BSNH->BTNH", weights_BNTS.astype(v_BSNH.dtype), v_BSNH)


def causal_attend(
    q_BTNH: Float[Array, "B T N H"], k_BTKH: Float[Array, "B T K H"], v_BTKH: Float[Array, "B T K H"]
) -> Float[Array, "B T N H"]:
    """`attend` with the causal mask: each position attends to itself and to all earlier positions."""
    position_T = jnp.arange(q_BTNH.shape[1])
    return attend(q_BTNH, k_BTKH, v_BTKH, (position_T[:, None] >= position_T)[None])


def packed_attend(
    q_BTNH: Float[Array, "B T N H"],
    k_BTKH: Float[Array, "B T K H"],
    v_BTKH: Float[Array, "B T K H"],
    starts_BT: Int[Array, "B T"],
) -> Float[Array, "B T N H"]:
    """`causal_attend` where a row holds several texts: each position attends within its own, from `starts_BT` on."""
    return attend(q_BTNH, k_BTKH, v_BTKH, packed_mask(starts_BT))


def branched_attend(
    q_BTNH: Float[Array, "B T N H"],
    k_BTKH: Float[Array, "B T K H"],
    v_BTKH: Float[Array, "B T K H"],
    branches_BT: Int[Array, "B T"],
) -> Float[Array, "B T N H"]:
    """`causal_attend` where a row holds a common beginning and what follows it in several texts."""
    return attend(q_BTNH, k_BTKH, v_BTKH, branched_mask(branches_BT))


def cached_attend(
    q_BTNH: Float[Array, "B T N H"], cache: LayerCache, mask_BTS: Bool[Array, "B T S"]
) -> Float[Array, "B T N H"]:
    """`attend` over the keys and values of a cache."""
    k_BSKH, v_BSKH = (heads_last(x_RSH, q_BTNH.shape[0]) for x_RSH in (cache.k_RSH, cache.v_RSH))
    return attend(q_BTNH, k_BSKH, v_BSKH, mask_BTS)
