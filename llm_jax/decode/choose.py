"""Logits → next token: temperature, min-p (Nguyen et al. 2024), top-k (Fan et al. 2018), top-p (Holtzman et al. 2020),
and a draw.

Each filter keeps every token whose logit is at least a threshold, so the vocabulary need not be sorted: bisection finds
the thresholds of top-k and top-p. The bits of a float, read as an integer, sort as the float does, so 32 steps find the
threshold exactly.

The draw gives each token v an exponential random number e_v and takes the token with the largest w_v / e_v; token v is
then drawn with probability w_v / Σw. The usual way, one random number per row and the cumulative sum of weights, is
sensitive to rounding: near a boundary of the sum, rounding selects an unrelated token, so with thousands of tokens one
draw in a thousand would depend on how many rows are computed together. Here rounding matters only for two tokens whose
w_v / e_v are nearly equal.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from llm_jax.decode.options import Sampling
from llm_jax.shapes import Array, Bool, Float, Int, Key, UInt, pytree

ALL_TOKENS = np.iinfo(np.int32).max
FLOAT = np.finfo(np.float32)
LEAST_TEMPERATURE = 1e-5  # below it decoding is greedy, as in vLLM: float32 could not hold the scaled logits
PIECE = 128  # tokens of a vocabulary that are looked at together
LEAST_TOP_P = 1e-30  # still above 0 in float32; a smaller value keeps the same tokens


@pytree
class Rule:
    """A `Sampling` as arrays for `jit`: new numbers need no new compilation, and a filter that is None is not computed.

    Each number is either one for all rows or one per row.
    """

    temperature: Float[Array, "*B"] | None  # None: all rows are greedy; 0: this row is
    top_k: Int[Array, "*B"] | None
    top_p: Float[Array, "*B"] | None
    min_p: Float[Array, "*B"] | None


def rule(sampling: Sampling) -> Rule:
    """A Sampling without its seed, as arrays."""
    draws = _draws(sampling)
    return Rule(
        temperature=jnp.float32(_temperature(sampling)) if draws else None,
        top_k=jnp.int32(min(sampling.top_k, ALL_TOKENS)) if draws and sampling.top_k else None,
        top_p=jnp.float32(max(sampling.top_p, LEAST_TOP_P)) if draws and sampling.top_p < 1 else None,
        min_p=jnp.float32(sampling.min_p) if draws and sampling.min_p else None,
    )


def rule_of_rows(samplings: Sequence[Sampling]) -> Rule:
    """One Sampling per row, without the seeds, as arrays.

    A filter is computed if any row uses it; it does not change the logits of the other rows.
    """
    draws = [_draws(s) for s in samplings]
    uses_k = any(s.top_k for s, drawn in zip(samplings, draws, strict=True) if drawn)
    uses_p = any(s.top_p < 1 for s, drawn in zip(samplings, draws, strict=True) if drawn)
    uses_min_p = any(s.min_p for s, drawn in zip(samplings, draws, strict=True) if drawn)
    # Probabilities sum to 1 only up to rounding; a threshold of 2 keeps all tokens.
    top_ps = [max(s.top_p, LEAST_TOP_P) if s.top_p < 1 else 2.0 for s in samplings]
    return Rule(
        temperature=jnp.asarray([_temperature(s) for s in samplings], jnp.float32) if any(draws) else None,
        top_k=jnp.asarray([min(s.top_k or ALL_TOKENS, ALL_TOKENS) for s in samplings], jnp.int32) if uses_k else None,
        top_p=jnp.asarray(top_ps, jnp.float32) if uses_p else None,
        min_p=jnp.asarray([s.min_p for s in samplings], jnp.float32) if uses_min_p else None,
    )


def _draws(sampling: Sampling) -> bool:
    return sampling.temperature >= LEAST_TEMPERATURE


def _temperature(sampling: Sampling) -> float:
    """The temperature, finite in float32; 0 for greedy decoding."""
    return min(sampling.temperature, float(FLOAT.max)) if _draws(sampling) else 0.0


def keys_of(seeds: Sequence[int]) -> Key[Array, "B"]:
    """`jax.random.key` of each seed, from all 64 bits; JAX itself would drop the upper 32."""
    words_B2 = np.array([[seed >> 32 & 0xFFFFFFFF, seed & 0xFFFFFFFF] for seed in seeds], np.uint32)
    return jax.random.wrap_key_data(jnp.asarray(words_B2), impl="threefry2x32")


def choose(logits_BV: Float[Array, "B V"], keys_B: Key[Array, "B"], rule: Rule) -> Int[Array, "B"]:
    """Chooses one token per row, from that row's logits and key alone."""
    if rule.temperature is None:
        return _most_likely(logits_BV)
    if rule.temperature.ndim == 0:
        return _drawn(logits_BV, keys_B, rule, rule.temperature)
    temperature_B1 = jnp.where(rule.temperature > 0, rule.temperature, 1)[:, None]
    drawn_B = _drawn(logits_BV, keys_B, rule, temperature_B1)
    return jnp.where(rule.temperature > 0, drawn_B, _most_likely(logits_BV))


def _most_likely(logits_BV: Float[Array, "B V"]) -> Int[Array, "B"]:
    """The argmax, first of equals, in two steps: the piece of the vocabulary that has it, and its place in the piece.

    So the logits are read once, for the largest of each piece, in whatever order they lie. XLA:CPU's argmax is several
    times slower, and a comparison of all logits with their maximum reads and writes them again.
    """
    size = logits_BV.shape[-1]
    whole = size // PIECE * PIECE
    largest_BC = logits_BV[:, :whole].reshape(len(logits_BV), size // PIECE, PIECE).max(axis=-1)
    if whole < size:
        largest_BC = jnp.concatenate([largest_BC, logits_BV[:, whole:].max(axis=-1, keepdims=True)], axis=-1)
    # The barrier keeps XLA from computing the maximum of maxima in a pass of its own.
    piece_B = _first_largest(jax.lax.optimization_barrier(largest_BC))
    places_BW = jnp.minimum(piece_B[:, None] * PIECE + jnp.arange(PIECE, dtype=jnp.int32), size - 1)
    first_B = _first_largest(jnp.take_along_axis(logits_BV, places_BW, axis=-1))
    return jnp.take_along_axis(places_BW, first_B[:, None], axis=-1)[:, 0]


def _first_largest(x_BN: Float[Array, "B N"]) -> Int[Array, "B"]:
    """The argmax of few numbers, first of equals, by a maximum and a comparison."""
    size = x_BN.shape[-1]
    is_largest_BN = x_BN == x_BN.max(axis=-1, keepdims=True)
    first_B = jnp.where(is_largest_BN, jnp.arange(size, dtype=jnp.int32), size).min(axis=-1)
    return jnp.minimum(first_B, size - 1)  # with a NaN no entry equals the maximum


def _drawn(logits_BV: Float[Array, "B V"], keys_B: Key[Array, "B"], rule: Rule, temperature) -> Int[Array, "B"]:
    logits_BV = logits_BV / temperature
    if rule.min_p is not None:
        logits_BV = keep_min_p(logits_BV, rule.min_p)
    if rule.top_k is not None:
        logits_BV = keep_top_k(logits_BV, rule.top_k)
    if rule.top_p is not None:
        logits_BV = keep_top_p(logits_BV, rule.top_p)
    return draw(jnp.exp(logits_BV - logits_BV.max(axis=-1, keepdims=True)), keys_B)


def draw(weights_BV: Float[Array, "B V"], keys_B: Key[Array, "B"]) -> Int[Array, "B"]:
    """Draws index v with probability w_v / Σw, never an index of weight 0: the argmax of w_v / e_v, e_v exponential."""
    uniform_BV = (_bits(keys_B, weights_BV.shape[-1]).astype(jnp.float32) + 0.5) * 2.0**-32
    # Below 1, so that e_v is finite. Near 0, where the largest w_v / e_v come from, 32 bits give the finest steps.
    exponential_BV = -jnp.log1p(-jnp.minimum(uniform_BV, 1 - FLOAT.epsneg))
    return _most_likely(weights_BV / exponential_BV)


def _bits(keys_B: Key[Array, "B"], size: int) -> UInt[Array, "B V"]:
    """`size` random words of 32 bits per key.

    Word i is the hash of i under the key: MurmurHash3's finaliser, once for each half of the key. JAX's generator made
    the keys. To draw the words from it as well would take 0.6 ms of a 12 ms step on a CPU with GPT-2's vocabulary.
    """
    halves_B2 = jax.random.key_data(keys_B)
    numbers_V = jnp.arange(size, dtype=jnp.uint32) * np.uint32(0x9E3779B9)
    return _mixed(_mixed(numbers_V ^ halves_B2[:, :1]) ^ halves_B2[:, 1:])


def _mixed(words: UInt[Array, "..."]) -> UInt[Array, "..."]:
    """MurmurHash3's finaliser (Appleby 2011): every bit of a word influences every other."""
    words = (words ^ (words >> 16)) * np.uint32(0x85EBCA6B)
    words = (words ^ (words >> 13)) * np.uint32(0xC2B2AE35)
    return words ^ (words >> 16)


def keep_min_p(logits_BV: Float[Array, "B V"], min_p: Float[Array, "*B"]) -> Float[Array, "B V"]:
    """Tokens less likely than `min_p` times the likeliest one become −∞."""
    threshold_B = logits_BV.max(axis=-1) + jnp.log(min_p)
    return jnp.where(logits_BV >= threshold_B[:, None], logits_BV, -jnp.inf)


def keep_top_k(logits_BV: Float[Array, "B V"], k: Int[Array, "*B"]) -> Float[Array, "B V"]:
    """All but the k largest logits become −∞; logits equal to the k-th stay."""
    return _keep(logits_BV, lambda kept_BV: kept_BV.sum(axis=-1) >= k)


def keep_top_p(logits_BV: Float[Array, "B V"], p: Float[Array, "*B"]) -> Float[Array, "B V"]:
    """The fewest largest logits whose probabilities sum to at least p; the others become −∞."""
    probabilities_BV = jax.nn.softmax(logits_BV, axis=-1)
    return _keep(logits_BV, lambda kept_BV: jnp.where(kept_BV, probabilities_BV, 0).sum(axis=-1) >= p)


def _keep(
    logits_BV: Float[Array, "B V"], enough: Callable[[Bool[Array, "B V"]], Bool[Array, "B"]]
) -> Float[Array, "B V"]:
    """Keeps the logits at or above the largest threshold for which `enough` holds; keeps all if it never holds."""
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
