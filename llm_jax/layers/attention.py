"""Causal multi-head self-attention with a KV-cache (Vaswani et al. 2017, §3.2), one function for training and decoding.

Without a cache every position attends to itself and what is before it. With one (`llm_jax.layers.cache`) the new keys
and values are written first, then the new queries attend to everything their row has written so far; rows may hold
sequences of different lengths. Left out: dropout of the weights (fused kernels have none) and grouped-query or rotary
variants.
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp

from llm_jax.layers.cache import LayerCache, Window, heads_first, heads_last, write
from llm_jax.layers.linear import Linear, init_linear, linear, linear_apart
from llm_jax.shapes import Array, Bool, Float, Key, pytree

Kernel = Literal["xla", "cudnn"]
PIECES, LONG = 4, 128  # queries are cut into so many pieces from this length on
WIDEST = 128  # head of cuDNN's kernels on every GPU that has them


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


def cached_attend(
    q_BTNH: Float[Array, "B T N H"], cache: LayerCache, mask_BTS: Bool[Array, "B T S"]
) -> Float[Array, "B T N H"]:
    """softmax(q·kᵀ/√H)·v (Vaswani et al. 2017, eq. 1) over a cache, in its own layout. True in the mask means: look."""
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
    """softmax(q·kᵀ/√H)·v, each position over itself and those before it, through cuDNN's fused kernel where asked.

    Scores and softmax are float32.
    """
    length, d_head = q_BTNH.shape[1], q_BTNH.shape[3]
    if kernel == "cudnn" and d_head % 8 == 0 and d_head <= WIDEST:
        # Its lengths are even: one more token at the end is seen by none of those before it.
        q_BTNH, k_BTNH, v_BTNH = (
            jnp.pad(x, ((0, 0), (0, length % 2), (0, 0), (0, 0))) for x in (q_BTNH, k_BTNH, v_BTNH)
        )
        # is_causal, not a mask: cuDNN has no training kernel for a mask alone (jax#28974).
        mixed_BTNH = jax.nn.dot_product_attention(q_BTNH, k_BTNH, v_BTNH, is_causal=True, implementation="cudnn")
        return mixed_BTNH[:, :length]
    return _in_pieces(*(x.swapaxes(1, 2) for x in (q_BTNH, k_BTNH, v_BTNH))).swapaxes(1, 2)


@jax.custom_vjp
def _in_pieces(
    q_BNTH: Float[Array, "B N T H"], k_BNTH: Float[Array, "B N T H"], v_BNTH: Float[Array, "B N T H"]
) -> Float[Array, "B N T H"]:
    """Causal attention piece by piece, each with no more keys than its last query may look at.

    Three quarters of the scores that the mask would hide are never made.
    """
    return _forward(q_BNTH, k_BNTH, v_BNTH)[0]


def _pieces(length: int) -> list[tuple[int, int]]:
    size = -(-length // PIECES) if length >= LONG else length
    return [(start, min(start + size, length)) for start in range(0, length, size)]


def _forward(q_BNTH, k_BNTH, v_BNTH):
    weights, mixed = [], []
    for start, end in _pieces(q_BNTH.shape[2]):
        scores_BNTS = _product("BNTH,BNSH->BNTS", q_BNTH[:, :, start:end], k_BNTH[:, :, :end])
        mask_TS = jnp.arange(start, end)[:, None] >= jnp.arange(end)
        weights.append(_softmax(scores_BNTS, mask_TS[None], q_BNTH.shape[-1]))
        mixed.append(jnp.einsum("BNTS,BNSH->BNTH", weights[-1].astype(v_BNTH.dtype), v_BNTH[:, :, :end]))
    mixed_BNTH = jnp.concatenate(mixed, axis=2)
    return mixed_BNTH, (q_BNTH, k_BNTH, v_BNTH, weights, mixed_BNTH)


def _backward(kept, d_BNTH):
    """With weights P and incoming D: dV = Pᵀ·D, dS = P∘(D·Vᵀ − Σ_H D∘out), dQ = dS·K/√H, dK = dSᵀ·Q/√H.

    The sum is Dao et al. 2022 (FlashAttention), appendix B.2, eq. 4: over H numbers, where softmax's own rule has S. dV
    and dK are made turned, from Dᵀ and Qᵀ, or else XLA on a CPU turns P and dS; the barrier keeps it from doing so.
    """
    q_BNTH, k_BNTH, v_BNTH, weights, mixed_BNTH = kept
    length, scale = q_BNTH.shape[2], q_BNTH.shape[-1] ** -0.5
    d_BNHT, q_BNHT = jax.lax.optimization_barrier((d_BNTH.swapaxes(2, 3), q_BNTH.swapaxes(2, 3)))
    pieces, d_k_BNHT, d_v_BNHT = [], jnp.zeros((), jnp.float32), jnp.zeros((), jnp.float32)
    for (start, end), weights_BNTS in zip(_pieces(length), weights, strict=True):
        here = slice(start, end)
        d_weights_BNTS = _product("BNTH,BNSH->BNTS", d_BNTH[:, :, here], v_BNTH[:, :, :end])
        sums_BNT = _product("BNTH,BNTH->BNT", d_BNTH[:, :, here], mixed_BNTH[:, :, here])
        d_scores_BNTS = (weights_BNTS * (d_weights_BNTS - sums_BNT[..., None])).astype(q_BNTH.dtype)
        pieces.append(_product("BNTS,BNSH->BNTH", d_scores_BNTS, k_BNTH[:, :, :end]))
        later = ((0, 0), (0, 0), (0, 0), (0, length - end))
        d_k_BNHT += jnp.pad(_product("BNHT,BNTS->BNHS", q_BNHT[..., here], d_scores_BNTS), later)
        weights_BNTS = weights_BNTS.astype(v_BNTH.dtype)
        d_v_BNHT += jnp.pad(_product("BNHT,BNTS->BNHS", d_BNHT[..., here], weights_BNTS), later)
    gradients = scale * jnp.concatenate(pieces, axis=2), (scale * d_k_BNHT).swapaxes(2, 3), d_v_BNHT.swapaxes(2, 3)
    return tuple(x.astype(q_BNTH.dtype) for x in gradients)


_in_pieces.defvjp(_forward, _backward)
_product = partial(jnp.einsum, preferred_element_type=jnp.float32)


def attention(
    layer: Attention,
    x_BTD: Float[Array, "B T D"],
    cache: LayerCache | None,
    window: Window | None,
    kernel: Kernel,
) -> tuple[Float[Array, "B T D"], LayerCache | None]:
    """Project to queries, keys and values, attend, project back. With a cache, `window` says where and to what."""
    # A chunk as long as the whole cache has nothing before it: prefill runs the same fused kernel as training.
    alone = cache is None or window is None or cache.k_RSH.shape[1] == x_BTD.shape[1]
    if alone and kernel == "cudnn":
        q_BTNH, k_BTNH, v_BTNH = linear_apart(layer.qkv, x_BTD)
    else:
        # split, not three slices: its gradient puts the three side by side, that of slices pads and adds them
        q_BTNH, k_BTNH, v_BTNH = (x.squeeze(2) for x in jnp.split(linear(layer.qkv, x_BTD), 3, axis=2))
    if cache is not None and window is not None:
        cache = write(cache, k_BTNH, v_BTNH, window.start)
    if alone:
        mixed_BTNH = causal_attend(q_BTNH, k_BTNH, v_BTNH, kernel)
    else:
        assert cache is not None
        assert window is not None
        mixed_BTNH = cached_attend(q_BTNH, cache, window.mask_BTS)
    return linear(layer.out, mixed_BTNH, n_inputs=2), cache
