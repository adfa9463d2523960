"""Logits → log-probabilities of tokens, for scoring, serving and `serve agree`.

log p(v) = z_v − log Σ_u exp z_u, in the format of the logits, which is float32. The log-softmax of the whole vocabulary
is never stored: only the chosen and the most likely tokens are needed.
"""

import jax
import jax.numpy as jnp

from llm_jax.layers.loss import log_probability as of_tokens
from llm_jax.shapes import Array, Float, Int

__all__ = ["best_and_margin", "most_likely", "of_tokens"]


def most_likely(logits_V: Float[Array, "*rows V"], n: int) -> tuple[Float[Array, "*rows n"], Int[Array, "*rows n"]]:
    """The `n` largest log-probabilities of each row, from the largest, and their tokens; `n` may be 0."""
    top_K, ids_K = jax.lax.top_k(logits_V, n)
    return top_K - jax.nn.logsumexp(logits_V, axis=-1, keepdims=True), ids_K


def best_and_margin(logits_V: Float[Array, "*rows V"]) -> tuple[Int[Array, "*rows"], Float[Array, "*rows"]]:
    """The most likely token of each row, and its log-probability minus that of the second most likely one."""
    best = logits_V.argmax(-1)
    # Two maxima instead of a top-k: XLA sorts the whole vocabulary for that on a CPU.
    others_V = jnp.where(jnp.arange(logits_V.shape[-1]) == best[..., None], -jnp.inf, logits_V)
    return best, logits_V.max(-1) - others_V.max(-1)
