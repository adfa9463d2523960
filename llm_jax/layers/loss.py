"""Next-token cross-entropy. Logits are h·Wᵀ, where W (the head) has one row for each token of the vocabulary.

A loss is a sum and a weight, Σ wₜ·ℓₜ and Σ wₜ. The training step divides them once, after summing over all slices,
micro-batches and devices: a mean of means would give more weight to the tokens of a batch with few targets.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from llm_jax.shapes import Array, Float, Int


def logits_of(
    hidden: Float[Array, "*rest D"], head_VD: Float[Array, "V D"], vocab_size: int
) -> Float[Array, "*rest V"]:
    """h·Wᵀ in float32; the columns that pad the vocabulary are −∞, so softmax, argmax and sampling ignore them."""
    head_VD = head_VD.astype(hidden.dtype)
    logits = jnp.einsum("...D,VD->...V", hidden, head_VD, preferred_element_type=jnp.float32)
    return without_padding(logits, vocab_size)


def without_padding(logits: Float[Array, "*rest V"], vocab_size: int) -> Float[Array, "*rest V"]:
    """−∞ in the columns that pad the vocabulary."""
    if vocab_size == logits.shape[-1]:
        return logits
    return jnp.where(jnp.arange(logits.shape[-1]) < vocab_size, logits, -jnp.inf)


def token_losses(
    hidden: Float[Array, "*rest D"], head_VD: Float[Array, "V D"], targets: Int[Array, "*rest"], vocab_size: int
) -> Float[Array, "*rest"]:
    """One loss (nats) per token: −log softmax(h·Wᵀ)[y]."""
    return -log_probability(logits_of(hidden, head_VD, vocab_size), targets)


def log_probability(logits: Float[Array, "*rest V"], tokens: Int[Array, "*rest"]) -> Float[Array, "*rest"]:
    """log softmax(z)[y] = z_y − log Σ_v exp z_v, in nats: the log-softmax of the whole vocabulary is never stored."""
    chosen = jnp.take_along_axis(logits, tokens[..., None], axis=-1)[..., 0]
    return chosen - jax.nn.logsumexp(logits, axis=-1)


def counted(
    targets: Int[Array, "*rest"], weights: Float[Array, "*rest"], vocab_size: int
) -> tuple[Int[Array, "*rest"], Float[Array, "*rest"]]:
    """Targets and weights with every target outside the vocabulary replaced: target 0, weight 0.

    So PyTorch's −100 and nanoGPT's −1 both mean "no target". Weights are float32 and get no gradient.
    """
    is_token = (targets >= 0) & (targets < vocab_size)
    weights = jax.lax.stop_gradient(jnp.where(is_token, weights, 0).astype(jnp.float32))
    return jnp.where(is_token, targets, 0), weights


def cross_entropy(
    hidden_BTD: Float[Array, "B T D"],
    head_VD: Float[Array, "V D"],
    targets_BT: Int[Array, "B T"],
    weights_BT: Float[Array, "B T"],
    vocab_size: int,
    n_chunks: int = 1,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Σ weight·loss (nats) and Σ weight; a target outside the vocabulary has weight 0.

    `n_chunks` is there for the kernels, which cut the sequence into slices; the formula ignores it and computes all
    logits at once.
    """
    targets_BT, weights_BT = counted(targets_BT, weights_BT, vocab_size)
    losses_BT = token_losses(hidden_BTD, head_VD, targets_BT, vocab_size)
    return (losses_BT * weights_BT).sum(), weights_BT.sum()


def of_all(
    loss: Callable[[Array, Array, Array, Array], Array],
    hidden_BTD: Float[Array, "B T D"],
    head_VD: Float[Array, "V D"],
    targets_BT: Int[Array, "B T"],
    weights_BT: Float[Array, "B T"],
) -> Array:
    """`loss(hidden, head, targets, weights)` of all positions, also of those without a weight."""
    return loss(hidden_BTD, head_VD, targets_BT, weights_BT)


def smoothed_cross_entropy(
    hidden_BTD: Float[Array, "B T D"],
    head_VD: Float[Array, "V D"],
    targets_BT: Int[Array, "B T"],
    weights_BT: Float[Array, "B T"],
    vocab_size: int,
    smoothing: float,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """`cross_entropy` with smoothed labels (Szegedy et al. 2016, §7): Σ −w·Σᵥ q(v)·log p(v), q = (1 − ε)·δ + ε/V.

    Its minimum is not 0 but the entropy of q, where p = q.

    Raises:
        ValueError: the smoothing lies outside [0, 1).
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"label smoothing must lie in [0, 1); got {smoothing}")
    targets_BT, weights_BT = counted(targets_BT, weights_BT, vocab_size)
    logits_BTV = logits_of(hidden_BTD, head_VD, vocab_size)[..., :vocab_size]
    log_p_BTV = jax.nn.log_softmax(logits_BTV, axis=-1)
    right_BT = jnp.take_along_axis(log_p_BTV, targets_BT[..., None], axis=-1)[..., 0]
    losses_BT = -(1 - smoothing) * right_BT - smoothing * log_p_BTV.mean(axis=-1)
    return (losses_BT * weights_BT).sum(), weights_BT.sum()
