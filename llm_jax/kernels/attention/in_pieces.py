"""Causal attention in four pieces of the queries, with its gradient by hand, for CPUs.

Each piece computes only the scores up to its last query, so three quarters of the masked scores are never computed: 92
→ 75 ms in the quickstart's shapes, 2 to 5 % at GPT-2 124M with 256 tokens. The gradient by hand sums over H numbers
where softmax's own rule sums over S (Dao et al. 2022, FlashAttention, appendix B.2, eq. 4). It computes dV and dK from
Dᵀ and Qᵀ; otherwise XLA:CPU transposes the larger P and dS. The backward pass alone takes 0.70 to 0.87 of the time
before (two cores with AVX-512, float32, `benchmarks/operations.py`).
"""

from functools import partial

import jax
import jax.numpy as jnp

from llm_jax.layers.packing import branched_mask, packed_mask
from llm_jax.shapes import Array, Bool, Float, Int

PIECES = 4
LEAST_LENGTH = 128  # queries; a shorter sequence is computed in one piece


def attend_in_pieces(
    q_BTNH: Float[Array, "B T N H"], k_BTKH: Float[Array, "B T K H"], v_BTKH: Float[Array, "B T K H"]
) -> Float[Array, "B T N H"]:
    """softmax(q·kᵀ/√H)·v, each position over itself and those before it; scores and softmax in float32."""
    return _attend(*(x.swapaxes(1, 2) for x in (q_BTNH, k_BTKH, v_BTKH))).swapaxes(1, 2)


def attend_packed_in_pieces(
    q_BTNH: Float[Array, "B T N H"],
    k_BTKH: Float[Array, "B T K H"],
    v_BTKH: Float[Array, "B T K H"],
    starts_BT: Int[Array, "B T"],
) -> Float[Array, "B T N H"]:
    """As `attend_in_pieces`, within the text of each position, which begins at `starts_BT` of its row."""
    return _attend_packed(*(x.swapaxes(1, 2) for x in (q_BTNH, k_BTKH, v_BTKH)), starts_BT).swapaxes(1, 2)


def attend_branched_in_pieces(
    q_BTNH: Float[Array, "B T N H"],
    k_BTKH: Float[Array, "B T K H"],
    v_BTKH: Float[Array, "B T K H"],
    branches_BT: Int[Array, "B T"],
) -> Float[Array, "B T N H"]:
    """As `attend_in_pieces`, over a common beginning and a position's own branch; for scoring, without a gradient of
    its own.
    """
    q_BNTH, k_BKTH, v_BKTH = (x.swapaxes(1, 2) for x in (q_BTNH, k_BTKH, v_BTKH))
    return _forward(q_BNTH, k_BKTH, v_BKTH, partial(branched_mask, branches_BT))[0].swapaxes(1, 2)


def masked_softmax(
    scores_BNTS: Float[Array, "B N T S"], mask_BTS: Bool[Array, "#B T S"], d_head: int
) -> Float[Array, "B N T S"]:
    scores_BNTS = scores_BNTS * d_head**-0.5
    scores_BNTS = jnp.where(mask_BTS[:, None], scores_BNTS, jnp.finfo(jnp.float32).min)
    return jax.nn.softmax(scores_BNTS, axis=-1)


@jax.custom_vjp
def _attend(
    q_BNTH: Float[Array, "B N T H"], k_BKTH: Float[Array, "B K T H"], v_BKTH: Float[Array, "B K T H"]
) -> Float[Array, "B N T H"]:
    return _forward(q_BNTH, k_BKTH, v_BKTH)[0]


@jax.custom_vjp
def _attend_packed(
    q_BNTH: Float[Array, "B N T H"],
    k_BKTH: Float[Array, "B K T H"],
    v_BKTH: Float[Array, "B K T H"],
    starts_BT: Int[Array, "B T"],
) -> Float[Array, "B N T H"]:
    return _forward_packed(q_BNTH, k_BKTH, v_BKTH, starts_BT)[0]


def _pieces(length: int) -> list[tuple[int, int]]:
    size = -(-length // PIECES) if length >= LEAST_LENGTH else length
    return [(start, min(start + size, length)) for start in range(0, length, size)]


def _shared(x_BNTH: Float[Array, "B N t H"], n_kv_heads: int) -> Float[Array, "B K Gt H"]:
    """The queries of the N/K heads that share a head of keys, one head after the other."""
    return x_BNTH.reshape(x_BNTH.shape[0], n_kv_heads, -1, x_BNTH.shape[-1])


def _causal_mask(start: int, end: int) -> Bool[Array, "1 t S"]:
    return (jnp.arange(start, end)[:, None] >= jnp.arange(end))[None]


def _forward_packed(q_BNTH, k_BKTH, v_BKTH, starts_BT):
    return _forward(q_BNTH, k_BKTH, v_BKTH, lambda start, end: packed_mask(starts_BT[:, start:end], start))


def _forward(q_BNTH, k_BKTH, v_BKTH, mask_of=_causal_mask):
    n_kv_heads, weights, mixed = k_BKTH.shape[1], [], []
    for start, end in _pieces(q_BNTH.shape[2]):
        here_BNTH = q_BNTH[:, :, start:end]
        scores_BKTS = _product("BKTH,BKSH->BKTS", _shared(here_BNTH, n_kv_heads), k_BKTH[:, :, :end])
        scores_BNTS = scores_BKTS.reshape(*here_BNTH.shape[:3], end)
        weights.append(masked_softmax(scores_BNTS, mask_of(start, end), q_BNTH.shape[-1]).reshape(scores_BKTS.shape))
        mixed_BKTH = jnp.einsum("BKTS,BKSH->BKTH", weights[-1].astype(v_BKTH.dtype), v_BKTH[:, :, :end])
        mixed.append(mixed_BKTH.reshape(here_BNTH.shape))
    mixed_BNTH = jnp.concatenate(mixed, axis=2)
    return mixed_BNTH, (q_BNTH, k_BKTH, v_BKTH, weights, mixed_BNTH)


def _backward(kept, d_BNTH):
    """With weights P and incoming D: dV = Pᵀ·D, dS = P∘(D·Vᵀ − Σ_H D∘out), dQ = dS·K/√H, dK = dSᵀ·Q/√H."""
    q_BNTH, k_BKTH, v_BKTH, weights, mixed_BNTH = kept
    n_kv_heads, length, scale = k_BKTH.shape[1], q_BNTH.shape[2], q_BNTH.shape[-1] ** -0.5
    pieces, d_k_BKHT, d_v_BKHT = [], jnp.zeros((), jnp.float32), jnp.zeros((), jnp.float32)
    # Without the barrier XLA fuses the transposes into the products and transposes P and dS instead.
    d_BNHT, q_BNHT = jax.lax.optimization_barrier((d_BNTH.swapaxes(2, 3), q_BNTH.swapaxes(2, 3)))
    for (start, end), weights_BKTS in zip(_pieces(length), weights, strict=True):
        here = slice(start, end)
        d_BKTH, out_BKTH = (_shared(x[:, :, here], n_kv_heads) for x in (d_BNTH, mixed_BNTH))
        d_BKHT, q_BKHT = (_shared_transposed(x[..., here], n_kv_heads) for x in (d_BNHT, q_BNHT))
        d_weights_BKTS = _product("BKTH,BKSH->BKTS", d_BKTH, v_BKTH[:, :, :end])
        sums_BKT = _product("BKTH,BKTH->BKT", d_BKTH, out_BKTH)
        d_scores_BKTS = (weights_BKTS * (d_weights_BKTS - sums_BKT[..., None])).astype(q_BNTH.dtype)
        d_q_BKTH = _product("BKTS,BKSH->BKTH", d_scores_BKTS, k_BKTH[:, :, :end])
        pieces.append(d_q_BKTH.reshape(*q_BNTH.shape[:2], end - start, -1))
        later = ((0, 0), (0, 0), (0, 0), (0, length - end))
        d_k_BKHT += jnp.pad(_product("BKHT,BKTS->BKHS", q_BKHT, d_scores_BKTS), later)
        weights_BKTS = weights_BKTS.astype(v_BKTH.dtype)
        if v_BKTH.dtype == jnp.bfloat16:  # XLA:CPU refuses the other form, of shared heads in one piece
            d_v_BKHS = _product("BKTH,BKTS->BKHS", d_BKTH, weights_BKTS)
        else:
            d_v_BKHS = _product("BKHT,BKTS->BKHS", d_BKHT, weights_BKTS)
        d_v_BKHT += jnp.pad(d_v_BKHS, later)
    gradients = scale * jnp.concatenate(pieces, axis=2), (scale * d_k_BKHT).swapaxes(2, 3), d_v_BKHT.swapaxes(2, 3)
    return tuple(x.astype(q_BNTH.dtype) for x in gradients)


def _shared_transposed(x_BNHT: Float[Array, "B N H t"], n_kv_heads: int) -> Float[Array, "B K H Gt"]:
    """As `_shared`, of transposed queries."""
    batch, n_heads, d_head, _ = x_BNHT.shape
    if n_heads == n_kv_heads:
        return x_BNHT
    grouped = x_BNHT.reshape(batch, n_kv_heads, n_heads // n_kv_heads, d_head, -1)
    return grouped.swapaxes(2, 3).reshape(batch, n_kv_heads, d_head, -1)


_attend.defvjp(_forward, _backward)
# Masked weights are 0, and with them every gradient through them: the same backward pass.
_attend_packed.defvjp(_forward_packed, lambda kept, d_BNTH: (*_backward(kept, d_BNTH), None))
_product = partial(jnp.einsum, preferred_element_type=jnp.float32)
