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
    if vocab_size == embedding_VD.shape[0]:
        return logits
    return jnp.where(jnp.arange(embedding_VD.shape[0]) < vocab_size, logits, -jnp.inf)


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


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def cross_entropy(
    hidden_BTD: Float[Array, "B T D"],
    embedding_VD: Float[Array, "V D"],
    targets_BT: Int[Array, "B T"],
    weights_BT: Float[Array, "B T"],
    vocab_size: int,
    n_chunks: int,
) -> Float[Array, ""]:
    """Mean loss in nats over the tokens of weight 1 (weighted mean in general); float32.

    `n_chunks` must divide T. The slices are cut along T, so that a batch sharded over devices stays where it is.
    """
    slices = _slices(n_chunks, hidden_BTD, targets_BT, weights_BT)

    def add(total, piece):
        hidden, targets, weights = piece
        return total + (token_losses(hidden, embedding_VD, targets, vocab_size) * weights).sum(), None

    total, _ = jax.lax.scan(add, jnp.zeros((), jnp.float32), slices)
    return total / weights_BT.sum()


def _forward(hidden_BTD, embedding_VD, targets_BT, weights_BT, vocab_size: int, n_chunks: int):
    """The loss, and with it both gradients while each slice's logits exist."""
    weights_BT = weights_BT / weights_BT.sum()
    slices = _slices(n_chunks, hidden_BTD, targets_BT, weights_BT)

    def add(carry, piece):
        total, d_embedding_VD = carry
        hidden, targets, weights = piece
        logits = tied_logits(hidden, embedding_VD, vocab_size)
        target_logits = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
        largest = logits.max(axis=-1)
        exponentials = jnp.exp(logits - largest[..., None])
        sums = exponentials.sum(axis=-1)
        losses = largest + jnp.log(sums) - target_logits
        # p is exponentials / sums; the division, and the weight, come where a row has D numbers, not V.
        residuals = _add_at(exponentials, targets, -sums).astype(hidden.dtype)
        scale = (weights / sums)[..., None]
        embedding = embedding_VD.astype(hidden.dtype)
        d_hidden = jnp.einsum("...V,VD->...D", residuals, embedding, preferred_element_type=jnp.float32)
        d_embedding_VD += transposed_product(residuals, (scale * hidden).astype(hidden.dtype))
        return (total + (losses * weights).sum(), d_embedding_VD), (scale * d_hidden).astype(hidden.dtype)

    start = (jnp.zeros((), jnp.float32), jnp.zeros(embedding_VD.shape, jnp.float32))
    if n_chunks == 1:  # no loop for XLA to guard its buffers against
        (loss, d_embedding_VD), d_hidden_BTD = add(start, jax.tree.map(lambda x: x[0], slices))
    else:
        (loss, d_embedding_VD), d_hidden = jax.lax.scan(add, start, slices)
        d_hidden_BTD = jnp.moveaxis(d_hidden, 0, 1).reshape(hidden_BTD.shape)
    return loss, (d_hidden_BTD, d_embedding_VD.astype(embedding_VD.dtype))


def _add_at(
    rows: Float[Array, "B T V"], places_BT: Int[Array, "B T"], values_BT: Float[Array, "B T"]
) -> Float[Array, "B T V"]:
    """A value added to each row at its own place: comparing all V places with it would be one pass more."""

    def add(row_V, place, value):
        return row_V.at[place].add(value)

    return jax.vmap(jax.vmap(add))(rows, places_BT, values_BT)


def _backward(vocab_size: int, n_chunks: int, gradients, d_loss):
    d_hidden_BTD, d_embedding_VD = gradients
    return (d_loss * d_hidden_BTD).astype(d_hidden_BTD.dtype), d_loss * d_embedding_VD, None, None


cross_entropy.defvjp(_forward, _backward)


def _slices(n_chunks: int, *arrays):
    """(B, T, …) → (chunks, B, T/chunks, …) for a scan over slices of the sequence."""
    length = arrays[0].shape[1]
    if length % n_chunks:
        raise ValueError(f"n_chunks must divide the sequence; got T={length}, n_chunks={n_chunks}")

    def cut(x):
        return jnp.moveaxis(x.reshape(x.shape[0], n_chunks, length // n_chunks, *x.shape[2:]), 1, 0)

    return tuple(map(cut, arrays))
