"""Logits → next token: temperature, top-k (Fan et al. 2018), top-p (Holtzman et al. 2020), and a draw.

Both filters keep every token whose logit is at least some threshold, so neither needs the vocabulary sorted: the
threshold is found by bisection. A float's bits, read as an integer, are in the float's order, so 32 halvings find it
exactly. The draw inverts the cumulative distribution with one random number a row: adding Gumbel noise to every logit
would need a random number for every token, 4 ms of a CPU's 25 ms step at GPT-2's vocabulary.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from llm_jax.config import VOCAB_MULTIPLE
from llm_jax.decode.options import Sampling
from llm_jax.shapes import Array, Bool, Float, Int, Key, pytree

ALL_TOKENS = np.iinfo(np.int32).max


@pytree
class Rule:
    """A `Sampling` as it crosses `jit`: numbers may change without a new compilation, what is None costs nothing.

    Each number is one for all rows, or one for each.
    """

    temperature: Float[Array, "*B"] | None  # None: the most likely token; of a row: 0
    top_k: Int[Array, "*B"] | None
    top_p: Float[Array, "*B"] | None


def rule(sampling: Sampling) -> Rule:
    """A Sampling without its seed, as arrays."""
    draws = sampling.temperature > 0
    return Rule(
        temperature=jnp.float32(sampling.temperature) if draws else None,
        top_k=jnp.int32(sampling.top_k) if draws and sampling.top_k else None,
        top_p=jnp.float32(sampling.top_p) if draws and sampling.top_p < 1 else None,
    )


def rule_of_rows(samplings: Sequence[Sampling]) -> Rule:
    """One Sampling a row, without their seeds. A filter costs its time if any row asks for it, and leaves the others'
    logits exactly as they are.
    """
    draws = [s.temperature > 0 for s in samplings]
    uses_k = any(s.top_k for s, drawn in zip(samplings, draws, strict=True) if drawn)
    uses_p = any(s.top_p < 1 for s, drawn in zip(samplings, draws, strict=True) if drawn)
    return Rule(
        temperature=jnp.asarray([s.temperature for s in samplings], jnp.float32) if any(draws) else None,
        top_k=jnp.asarray([s.top_k or ALL_TOKENS for s in samplings], jnp.int32) if uses_k else None,
        # Probabilities sum to 1 only up to rounding: to keep all of them takes more.
        top_p=jnp.asarray([s.top_p if s.top_p < 1 else 2.0 for s in samplings], jnp.float32) if uses_p else None,
    )


def choose(logits_BV: Float[Array, "B V"], keys_B: Key[Array, "B"], rule: Rule) -> Int[Array, "B"]:
    """One token a row. A row's choice depends on its own logits and key alone."""
    if rule.temperature is None:
        return _most_likely(logits_BV)
    if rule.temperature.ndim == 0:
        return _drawn(logits_BV, keys_B, rule, rule.temperature)
    temperature_B1 = jnp.where(rule.temperature > 0, rule.temperature, 1)[:, None]
    drawn_B = _drawn(logits_BV, keys_B, rule, temperature_B1)
    return jnp.where(rule.temperature > 0, drawn_B, _most_likely(logits_BV))


def _most_likely(logits_BV: Float[Array, "B V"]) -> Int[Array, "B"]:
    """The first of the largest logits: the place of the maximum, which a CPU finds four times as fast as an argmax."""
    is_largest_BV = logits_BV == logits_BV.max(axis=-1, keepdims=True)
    size = logits_BV.shape[-1]
    first_B = jnp.where(is_largest_BV, jnp.arange(size, dtype=jnp.int32), size).min(axis=-1)
    return jnp.minimum(first_B, size - 1)  # nothing equals a NaN


def _drawn(logits_BV: Float[Array, "B V"], keys_B: Key[Array, "B"], rule: Rule, temperature) -> Int[Array, "B"]:
    logits_BV = logits_BV / temperature
    if rule.top_k is not None:
        logits_BV = keep_top_k(logits_BV, rule.top_k)
    if rule.top_p is not None:
        logits_BV = keep_top_p(logits_BV, rule.top_p)
    return draw(jnp.exp(logits_BV - logits_BV.max(axis=-1, keepdims=True)), keys_B)


def draw(weights_BV: Float[Array, "B V"], keys_B: Key[Array, "B"]) -> Int[Array, "B"]:
    """Draws index v with probability w_v / Σw, never one of weight zero.

    In two levels, first the piece of the vocabulary and then the token in it: a running sum over all of it is slow.
    """
    batch, size = weights_BV.shape
    padded_BV = jnp.pad(weights_BV, ((0, 0), (0, -size % VOCAB_MULTIPLE)))
    pieces_BCW = padded_BV.reshape(batch, -1, VOCAB_MULTIPLE)
    masses_BC = pieces_BCW.sum(axis=-1)
    target_B = jax.vmap(jax.random.uniform)(keys_B) * masses_BC.sum(axis=-1)
    piece_B, target_B = _find(masses_BC, target_B)
    token_B, _ = _find(jnp.take_along_axis(pieces_BCW, piece_B[:, None, None], axis=1)[:, 0], target_B)
    return piece_B * VOCAB_MULTIPLE + token_B


def _find(weights: Float[Array, "B W"], target_B: Float[Array, "B"]) -> tuple[Int[Array, "B"], Float[Array, "B"]]:
    """The first index whose running sum passes the target, and what is left of the target there.

    Sums round: where none passes, the largest weight is taken, and an index of weight zero never is.
    """
    sums = jnp.cumsum(weights, axis=-1)
    passes = (sums > target_B[:, None]) & (weights > 0)
    index_B = jnp.where(passes.any(axis=-1), jnp.argmax(passes, axis=-1), jnp.argmax(weights, axis=-1))
    before_B = jnp.take_along_axis(sums - weights, index_B[:, None], axis=-1)[:, 0]
    return index_B.astype(jnp.int32), target_B - before_B


def keep_top_k(logits_BV: Float[Array, "B V"], k: Int[Array, "*B"]) -> Float[Array, "B V"]:
    """All but the k largest logits become −∞; those that tie with the k-th stay."""
    return _keep(logits_BV, lambda kept_BV: kept_BV.sum(axis=-1) >= k)


def keep_top_p(logits_BV: Float[Array, "B V"], p: Float[Array, "*B"]) -> Float[Array, "B V"]:
    """The fewest largest logits whose probabilities sum to at least p; the others become −∞."""
    probabilities_BV = jax.nn.softmax(logits_BV, axis=-1)
    return _keep(logits_BV, lambda kept_BV: jnp.where(kept_BV, probabilities_BV, 0).sum(axis=-1) >= p)


def _keep(
    logits_BV: Float[Array, "B V"], enough: Callable[[Bool[Array, "B V"]], Bool[Array, "B"]]
) -> Float[Array, "B V"]:
    """Keeps the logits at or above the largest threshold that still keeps `enough` of them; all, where none does."""
    order_BV = _swap_order(jax.lax.bitcast_convert_type(logits_BV, jnp.int32))
    low_B, high_B = (
        jnp.full(logits_BV.shape[0], _swap_order(jnp.float32(x).view(jnp.int32))) for x in (-jnp.inf, jnp.inf)
    )

    def halve(_, bounds):
        low_B, high_B = bounds
        middle_B = (low_B | high_B) - ((low_B ^ high_B) >> 1)  # their mean, rounded up, without overflow
        holds_B = enough(order_BV >= middle_B[:, None])
        return jnp.where(holds_B, middle_B, low_B), jnp.where(holds_B, high_B, middle_B - 1)

    order_B, _ = jax.lax.fori_loop(0, 32, halve, (low_B, high_B))
    threshold_B = jax.lax.bitcast_convert_type(_swap_order(order_B), jnp.float32)
    # Compared as floats, so that −0 ties with 0.
    return jnp.where(logits_BV >= threshold_B[:, None], logits_BV, -jnp.inf)


def _swap_order(bits: Int[Array, "..."]) -> Int[Array, "..."]:
    """A float's bits ↔ an integer in the float's order: negative floats count down, so all but the sign is flipped."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)
