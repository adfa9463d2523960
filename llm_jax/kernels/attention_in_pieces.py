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

from llm_jax.shapes import Array, Bool, Float

PIECES = 4
LEAST_LENGTH = 128  # queries; a shorter sequence is computed in one piece


def attend_in_pieces(
    q_BTNH: Float[Array, "B T N H"], k_BTNH: Float[Array, "B T N H"], v_BTNH: Float[Array, "B T N H"]
) -> Float[Array, "B T N H"]:
    """softmax(q·kᵀ/√H)·v, each position over itself and those before it; scores and softmax in float32."""
    return _attend(*(x.swapaxes(1, 2) for x in (q_BTNH, k_BTNH, v_BTNH))).swapaxes(1, 2)


def masked_softmax(
    scores_BNTS: Float[Array, "B N T S"], mask_BTS: Bool[Array, "#B T S"], d_head: int
) -> Float[Array, "B N T S"]:
    scores_BNTS = scores_BNTS * d_head**-0.5
    scores_BNTS = jnp.where(mask_BTS[:, None], scores_BNTS, jnp.finfo(jnp.float32).min)
    return jax.nn.softmax(scores_BNTS, axis=-1)


@jax.custom_vjp
def _attend(
    q_BNTH: Float[Array, "B N T H"], k_BNTH: Float[Array, "B N T H"], v_BNTH: Float[Array, "B N T H"]
) -> Float[Array, "B N T H"]:
    return _forward(q_BNTH, k_BNTH, v_BNTH)[0]


def _pieces(length: int) -> list[tuple[int, int]]:
    size = -(-length // PIECES) if length >= LEAST_LENGTH else length
    return [(start, min(start + size, length)) for start in range(0, length, size)]


def _forward(q_BNTH, k_BNTH, v_BNTH):
    weights, mixed = [], []
    for start, end in _pieces(q_BNTH.shape[2]):
        scores_BNTS = _product("BNTH,BNSH->BNTS", q_BNTH[:, :, start:end], k_BNTH[:, :, :end])
        mask_TS = jnp.arange(start, end)[:, None] >= jnp.arange(end)
        weights.append(masked_softmax(scores_BNTS, mask_TS[None], q_BNTH.shape[-1]))
        mixed.append(jnp.einsum("BNTS,BNSH->BNTH", weights[-1].astype(v_BNTH.dtype), v_BNTH[:, :, :end]))
    mixed_BNTH = jnp.concatenate(mixed, axis=2)
    return mixed_BNTH, (q_BNTH, k_BNTH, v_BNTH, weights, mixed_BNTH)


def _backward(kept, d_BNTH):
    """With weights P and incoming D: dV = Pᵀ·D, dS = P∘(D·Vᵀ − Σ_H D∘out), dQ = dS·K/√H, dK = dSᵀ·Q/√H."""
    q_BNTH, k_BNTH, v_BNTH, weights, mixed_BNTH = kept
    length, scale = q_BNTH.shape[2], q_BNTH.shape[-1] ** -0.5
    # Without the barrier XLA fuses the transposes into the products and transposes P and dS instead.
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


_attend.defvjp(_forward, _backward)
_product = partial(jnp.einsum, preferred_element_type=jnp.float32)
