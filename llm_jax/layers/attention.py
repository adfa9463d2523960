"""Multi-head attention (Vaswani et al. 2017, §3.2): each query takes a weighted mean of the values it may attend to.

One formula serves training and decoding; only the mask differs. In training a position attends to itself and to all
earlier positions. With a cache (`llm_jax.layers.cache`) it attends to every token that its row has written so far, in
packed rows (`llm_jax.layers.packing`) to the tokens of its own text.
Several heads of queries may share one head of keys and values (grouped queries, Ainslie et al. 2023, §2.2). Left out:
dropout on the attention weights, because fused kernels do not support it.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from llm_jax.config import DecoderConfig
from llm_jax.layers.adapted import Adapted
from llm_jax.layers.cache import LayerCache, heads_last
from llm_jax.layers.linear import Linear, init_linear, linear
from llm_jax.layers.norm import RMSNorm, init_rms_norm
from llm_jax.layers.packing import branched_mask, packed_mask
from llm_jax.shapes import Array, Bool, Float, Int, Key, constant, pytree


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
