"""Cross-entropy that never holds the whole batch's float32 logits, with its gradient made in the forward pass.

The logits of half a million tokens of GPT-2 would take 100 GB in float32. Here the sequence is cut into slices. For
each slice the forward pass computes the logits, the loss, and the gradients of hidden states and head, and then drops
the logits. The backward pass only multiplies these gradients by the incoming derivative, so nothing is computed twice
(the idea of Liger Kernel's fused linear cross-entropy, Hsu et al. 2024).

With p = softmax(h·Wᵀ), ℓ = Σ_t w_t (logsumexp(h_t·Wᵀ) − h_t·W[y_t]):
    ∂ℓ/∂logits_t = w_t · (p_t − onehot(y_t)),   ∂ℓ/∂h = ∂ℓ/∂logits · W,   ∂ℓ/∂W = ∂ℓ/∂logitsᵀ · h

Timed alone it reaches 0.71 of its bound, 0.82 at GPT-2 124M's shape (two cores with AVX-512,
`benchmarks/operations.py`). A GPU gets two other parts (`_one_reading`, `_compared_where`): the passes over the logits
of a step of 124M need at least 34 ms on an H200, not 177 (a bound from `benchmarks/gpu_compiled.py`).

Under `grad` the logits are rounded to the compute format before the loss is taken in float32, as PyTorch's autocast
does. Slices are cut along T, so a batch that is sharded over devices is not moved.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from llm_jax.kernels.logits import logits_of_few
from llm_jax.kernels.products import summed_product, transposed_product
from llm_jax.layers.loss import counted, log_probability, without_padding
from llm_jax.shapes import Array, Float, Int


def cross_entropy_on_cpu(
    hidden_BTD: Float[Array, "B T D"],
    head_VD: Float[Array, "V D"],
    targets_BT: Int[Array, "B T"],
    weights_BT: Float[Array, "B T"],
    vocab_size: int,
    n_chunks: int = 1,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Σ weight·loss and Σ weight, in `n_chunks` slices of the sequence. Raises ValueError if these do not divide T."""
    return _cross_entropy(_ON_CPU, hidden_BTD, head_VD, targets_BT, weights_BT, vocab_size, n_chunks)


def cross_entropy_on_gpu(
    hidden_BTD: Float[Array, "B T D"],
    head_VD: Float[Array, "V D"],
    targets_BT: Int[Array, "B T"],
    weights_BT: Float[Array, "B T"],
    vocab_size: int,
    n_chunks: int = 1,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """As `cross_entropy_on_cpu`, in the form that is fast on a GPU."""
    return _cross_entropy(_ON_GPU, hidden_BTD, head_VD, targets_BT, weights_BT, vocab_size, n_chunks)


class _Parts(NamedTuple):
    """The three steps that CPU and GPU compute differently."""

    largest_and_sum: Callable[[Array], tuple[Array, Array]]  # m = max_v x_v and Σ_v exp(x_v − m) of each row
    subtract_at: Callable[[Array, Array, Array], Array]  # subtracts a value from one entry of each row
    head_gradient: Callable[[Array, Array], Array]


def _cross_entropy(parts, hidden_BTD, head_VD, targets_BT, weights_BT, vocab_size, n_chunks):
    targets_BT, weights_BT = counted(targets_BT, weights_BT, vocab_size)
    total = _summed(parts, hidden_BTD, head_VD, targets_BT, weights_BT, vocab_size, n_chunks)
    return total, weights_BT.sum()


@partial(jax.custom_vjp, nondiff_argnums=(0, 5, 6))
def _summed(parts, hidden_BTD, head_VD, targets_BT, weights_BT, vocab_size: int, n_chunks: int):
    """Σ weight·loss."""

    def add(total, piece):
        hidden, targets, weights = piece
        logits = logits_of_few(hidden, head_VD, vocab_size)
        return total - (log_probability(logits, targets) * weights).sum(), None

    slices = _slices(n_chunks, hidden_BTD, targets_BT, weights_BT)
    return jax.lax.scan(add, jnp.zeros((), jnp.float32), slices)[0]


def _forward(parts: _Parts, hidden_BTD, head_VD, targets_BT, weights_BT, vocab_size: int, n_chunks: int):
    """The loss, and with it both gradients while each slice's logits exist."""
    slices = _slices(n_chunks, hidden_BTD, targets_BT, weights_BT)
    head = head_VD.astype(hidden_BTD.dtype)

    def add(carry, piece):
        total, d_head_VD = carry
        hidden_RD, targets_R, weights_R = (x.reshape(-1, *x.shape[2:]) for x in piece)
        logits_RV = jnp.einsum("RD,VD->RV", hidden_RD, head).astype(jnp.float32)
        logits_RV = without_padding(logits_RV, vocab_size)
        target_logits_R = jnp.take_along_axis(logits_RV, targets_R[:, None], axis=-1)[:, 0]
        largest_R, sums_R = parts.largest_and_sum(logits_RV)
        exponentials_RV = jnp.exp(logits_RV - largest_R[:, None])
        losses_R = largest_R + jnp.log(sums_R) - target_logits_R
        # p = exponentials / sums. The division and the weight are applied later, to D numbers per row instead of V.
        residuals_RV = parts.subtract_at(exponentials_RV, targets_R, sums_R).astype(hidden_RD.dtype)
        scale_R1 = (weights_R / sums_R)[:, None]
        d_hidden_RD = jnp.einsum("RV,VD->RD", residuals_RV, head, preferred_element_type=jnp.float32)
        d_head_VD += parts.head_gradient(residuals_RV, (scale_R1 * hidden_RD).astype(hidden_RD.dtype))
        d_hidden = (scale_R1 * d_hidden_RD).astype(hidden_RD.dtype).reshape(piece[0].shape)
        return (total + (losses_R * weights_R).sum(), d_head_VD), d_hidden

    start = (jnp.zeros((), jnp.float32), jnp.zeros(head_VD.shape, jnp.float32))
    if n_chunks == 1:  # without a loop XLA copies fewer buffers
        (loss, d_head_VD), d_hidden_BTD = add(start, jax.tree.map(lambda x: x[0], slices))
    else:
        (loss, d_head_VD), d_hidden = jax.lax.scan(add, start, slices)
        d_hidden_BTD = jnp.moveaxis(d_hidden, 0, 1).reshape(hidden_BTD.shape)
    return loss, (d_hidden_BTD, d_head_VD.astype(head_VD.dtype))


def _backward(parts: _Parts, vocab_size: int, n_chunks: int, gradients, d_loss):
    d_hidden_BTD, d_head_VD = gradients
    return *((d_loss * d).astype(d.dtype) for d in (d_hidden_BTD, d_head_VD)), None, None


_summed.defvjp(_forward, _backward)


def _slices(n_chunks: int, *arrays):
    """(B, T, …) → (chunks, B, T/chunks, …) for a scan over slices of the sequence."""
    length = arrays[0].shape[1]
    if length % n_chunks:
        raise ValueError(f"n_chunks must divide the sequence; got T={length}, n_chunks={n_chunks}")

    def cut(x):
        return jnp.moveaxis(x.reshape(x.shape[0], n_chunks, length // n_chunks, *x.shape[2:]), 1, 0)

    return tuple(map(cut, arrays))


def _two_readings(logits_RV: Float[Array, "R V"]) -> tuple[Float[Array, "R"], Float[Array, "R"]]:
    """Maximum and sum as two reductions, which is faster on a CPU."""
    largest_R = logits_RV.max(axis=-1)
    return largest_R, jnp.exp(logits_RV - largest_R[:, None]).sum(axis=-1)


def _one_reading(logits_RV: Float[Array, "R V"]) -> tuple[Float[Array, "R"], Float[Array, "R"]]:
    """Maximum and sum in one pass over the logits (Milakov & Gimelshein 2018, eq. 4).

    (m, s) ⊕ (n, t) = (max, s·e^(m−max) + t·e^(n−max)).
    """

    def join(left, right):
        (m, s), (n, t) = left, right
        smaller = jnp.where(m == n, 1.0, jnp.exp(-jnp.abs(m - n)))  # also right for −∞ and −∞
        return jnp.maximum(m, n), jnp.where(m < n, s * smaller + t, s + t * smaller)

    one = jnp.ones_like(logits_RV)
    return jax.lax.reduce((logits_RV, one), (jnp.float32(-jnp.inf), jnp.float32(0)), join, (1,))


def _in_place(
    rows_RV: Float[Array, "R V"], places_R: Int[Array, "R"], values_R: Float[Array, "R"]
) -> Float[Array, "R V"]:
    """Subtracts by an indexed update of one entry per row, which saves a CPU a pass over the rows."""
    return jax.vmap(lambda row_V, place, value: row_V.at[place].add(-value))(rows_RV, places_R, values_R)


def _compared_where(
    rows_RV: Float[Array, "R V"], places_R: Int[Array, "R"], values_R: Float[Array, "R"]
) -> Float[Array, "R V"]:
    """Subtracts where the index equals the row's target: XLA fuses the comparison into the pass that writes the row."""
    is_target_RV = jnp.arange(rows_RV.shape[-1]) == places_R[:, None]
    return rows_RV - jnp.where(is_target_RV, values_R[:, None], 0)


_ON_CPU = _Parts(_two_readings, _in_place, transposed_product)
_ON_GPU = _Parts(_one_reading, _compared_where, summed_product)
