"""Cross-entropy of a tied head that never holds the whole batch's float32 logits.

For GPT-2 the logits of half a million tokens would take 100 GB in float32. Here the sequence is cut into slices; for
each, logits are made, reduced to a loss, turned into the gradients of hidden states and embedding, and dropped. The
gradients are made in the forward pass, while the logits are at hand, so the backward pass is only a multiplication by
the incoming derivative: nothing is computed twice (the idea of Liger Kernel's fused linear cross-entropy, Hsu et al.
2024).

With p = softmax(h·Wᵀ), ℓ = Σ_t w_t (logsumexp(h_t·Wᵀ) − h_t·W[y_t]) / Σ_t w_t:
    ∂ℓ/∂logits_t = w_t/Σw · (p_t − onehot(y_t)),   ∂ℓ/∂h = ∂ℓ/∂logits · W,   ∂ℓ/∂W = ∂ℓ/∂logitsᵀ · h
"""

from functools import partial

import jax
import jax.numpy as jnp

from llm_jax.layers.linear import transposed_product
from llm_jax.shapes import Array, Float, Int

FEW = 64  # rows of hidden states: a decoding step's batch, never a training step's


def tied_logits(
    hidden: Float[Array, "*rest D"], embedding_VD: Float[Array, "V D"], vocab_size: int
) -> Float[Array, "*rest V"]:
    """h·Wᵀ in float32; the columns that pad the vocabulary are −∞, so no softmax, argmax or sample ever sees them."""
    embedding_VD = embedding_VD.astype(hidden.dtype)
    if hidden.size <= FEW * hidden.shape[-1]:
        # A decoding step reads all of W for a few rows: a CPU does that faster with W on the left. The barrier keeps
        # XLA from moving the turn into the product.
        turned = jnp.einsum("VD,...D->V...", embedding_VD, hidden, preferred_element_type=jnp.float32)
        logits = jnp.moveaxis(jax.lax.optimization_barrier(turned), 0, -1)
    else:
        logits = jnp.einsum("...D,VD->...V", hidden, embedding_VD, preferred_element_type=jnp.float32)
    return without_padding(logits, vocab_size)


def without_padding(logits: Float[Array, "*rest V"], vocab_size: int) -> Float[Array, "*rest V"]:
    """−∞ in the columns that pad the vocabulary."""
    if vocab_size == logits.shape[-1]:
        return logits
    return jnp.where(jnp.arange(logits.shape[-1]) < vocab_size, logits, -jnp.inf)


def token_losses(
    hidden: Float[Array, "*rest D"],
    embedding_VD: Float[Array, "V D"],
    targets: Int[Array, "*rest"],
    vocab_size: int,
) -> Float[Array, "*rest"]:
    """The plain formula, one loss (nats) per token: −log softmax(h·Wᵀ)[y]; evaluation uses it."""
    logits = tied_logits(hidden, embedding_VD, vocab_size)
    target_logits = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - target_logits


def cross_entropy(
    hidden_BTD: Float[Array, "B T D"],
    embedding_VD: Float[Array, "V D"],
    targets_BT: Int[Array, "B T"],
    weights_BT: Float[Array, "B T"],
    vocab_size: int,
    n_chunks: int,
) -> Float[Array, ""]:
    """Mean loss in nats over the tokens of weight 1 (weighted mean in general); float32.

    A target outside the vocabulary is left out, whichever number marks it (PyTorch's −100, nanoGPT's −1); where nothing
    is left the loss is 0. Weights are constants. `n_chunks` must divide T. The slices are cut along T, so that a batch
    sharded over devices stays where it is. Under `grad` the logits are rounded to the compute format before the loss is
    taken in float32, as PyTorch's autocast does.
    """
    known_BT = (targets_BT >= 0) & (targets_BT < vocab_size)
    targets_BT, weights_BT = jnp.where(known_BT, targets_BT, 0), jnp.where(known_BT, weights_BT, 0)
    total = weights_BT.sum()
    weights_BT = jax.lax.stop_gradient(weights_BT / jnp.where(total > 0, total, 1))
    return _cross_entropy(hidden_BTD, embedding_VD, targets_BT, weights_BT, vocab_size, n_chunks)


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _cross_entropy(hidden_BTD, embedding_VD, targets_BT, weights_BT, vocab_size: int, n_chunks: int):
    """Σ weight·loss."""

    def add(total, piece):
        hidden, targets, weights = piece
        return total + (token_losses(hidden, embedding_VD, targets, vocab_size) * weights).sum(), None

    slices = _slices(n_chunks, hidden_BTD, targets_BT, weights_BT)
    return jax.lax.scan(add, jnp.zeros((), jnp.float32), slices)[0]


def _forward(hidden_BTD, embedding_VD, targets_BT, weights_BT, vocab_size: int, n_chunks: int):
    """The loss, and with it both gradients while each slice's logits exist."""
    slices = _slices(n_chunks, hidden_BTD, targets_BT, weights_BT)
    embedding = embedding_VD.astype(hidden_BTD.dtype)

    def add(carry, piece):
        total, d_embedding_VD = carry
        hidden_RD, targets_R, weights_R = (x.reshape(-1, *x.shape[2:]) for x in piece)
        logits_RV = jnp.einsum("RD,VD->RV", hidden_RD, embedding).astype(jnp.float32)
        logits_RV = without_padding(logits_RV, vocab_size)
        target_logits_R = jnp.take_along_axis(logits_RV, targets_R[:, None], axis=-1)[:, 0]
        largest_R, sums_R = _largest_and_sum(logits_RV)
        exponentials_RV = jnp.exp(logits_RV - largest_R[:, None])
        losses_R = largest_R + jnp.log(sums_R) - target_logits_R
        # p is exponentials / sums; the division, and the weight, come where a row has D numbers, not V.
        residuals_RV = _subtract_at(exponentials_RV, targets_R, sums_R).astype(hidden_RD.dtype)
        scale_R1 = (weights_R / sums_R)[:, None]
        d_hidden_RD = jnp.einsum("RV,VD->RD", residuals_RV, embedding, preferred_element_type=jnp.float32)
        d_embedding_VD += transposed_product(residuals_RV, (scale_R1 * hidden_RD).astype(hidden_RD.dtype))
        d_hidden = (scale_R1 * d_hidden_RD).astype(hidden_RD.dtype).reshape(piece[0].shape)
        return (total + (losses_R * weights_R).sum(), d_embedding_VD), d_hidden

    start = (jnp.zeros((), jnp.float32), jnp.zeros(embedding_VD.shape, jnp.float32))
    if n_chunks == 1:  # no loop for XLA to guard its buffers against
        (loss, d_embedding_VD), d_hidden_BTD = add(start, jax.tree.map(lambda x: x[0], slices))
    else:
        (loss, d_embedding_VD), d_hidden = jax.lax.scan(add, start, slices)
        d_hidden_BTD = jnp.moveaxis(d_hidden, 0, 1).reshape(hidden_BTD.shape)
    return loss, (d_hidden_BTD, d_embedding_VD.astype(embedding_VD.dtype))


def _largest_and_sum(logits_RV: Float[Array, "R V"]) -> tuple[Float[Array, "R"], Float[Array, "R"]]:
    """m = max_v x_v and Σ_v exp(x_v − m) of each row.

    A GPU takes both in one reading, by Milakov & Gimelshein 2018, eq. 4: (m, s) ⊕ (n, t) = (max, s·e^(m−max) +
    t·e^(n−max)). A CPU is faster with two plain sums.
    """
    if jax.default_backend() == "cpu":
        largest_R = logits_RV.max(axis=-1)
        return largest_R, jnp.exp(logits_RV - largest_R[:, None]).sum(axis=-1)

    def join(left, right):
        (m, s), (n, t) = left, right
        smaller = jnp.where(m == n, 1.0, jnp.exp(-jnp.abs(m - n)))  # −∞ against −∞ too
        return jnp.maximum(m, n), jnp.where(m < n, s * smaller + t, s + t * smaller)

    one = jnp.ones_like(logits_RV)
    return jax.lax.reduce((logits_RV, one), (jnp.float32(-jnp.inf), jnp.float32(0)), join, (1,))


def _subtract_at(
    rows_RV: Float[Array, "R V"], places_R: Int[Array, "R"], values_R: Float[Array, "R"]
) -> Float[Array, "R V"]:
    """A value taken from each row at its own place.

    A GPU compares every place with it while the row is written anyway; on a CPU that would be one pass more.
    """
    if jax.default_backend() == "cpu":
        return jax.vmap(lambda row_V, place, value: row_V.at[place].add(-value))(rows_RV, places_R, values_R)
    is_target_RV = jnp.arange(rows_RV.shape[-1]) == places_R[:, None]
    return rows_RV - jnp.where(is_target_RV, values_R[:, None], 0)


def _backward(vocab_size: int, n_chunks: int, gradients, d_loss):
    d_hidden_BTD, d_embedding_VD = gradients
    return *((d_loss * d).astype(d.dtype) for d in (d_hidden_BTD, d_embedding_VD)), None, None


_cross_entropy.defvjp(_forward, _backward)


def _slices(n_chunks: int, *arrays):
    """(B, T, …) → (chunks, B, T/chunks, …) for a scan over slices of the sequence."""
    length = arrays[0].shape[1]
    if length % n_chunks:
        raise ValueError(f"n_chunks must divide the sequence; got T={length}, n_chunks={n_chunks}")

    def cut(x):
        return jnp.moveaxis(x.reshape(x.shape[0], n_chunks, length // n_chunks, *x.shape[2:]), 1, 0)

    return tuple(map(cut, arrays))
