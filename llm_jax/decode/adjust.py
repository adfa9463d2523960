"""Logits changed before a token is chosen, with vLLM's formulas and in vLLM's order (`vllm/v1/sample/sampler.py`).

    allowed tokens        the logits of all other tokens become −∞
    min_tokens            the logits of tokens that end the answer become −∞ until the answer has this many tokens
    logit_bias            is added
    repetition penalty r  for a token in the prompt or the answer: divides a positive logit by r, multiplies any other
                          by r (Keskar et al. 2019, "CTRL")
    frequency penalty     is subtracted once for each time the token is in the answer
    presence penalty      is subtracted once if the token is in the answer

Temperature and filters (`llm_jax.decode.choose`) follow. Log-probabilities are computed before all of this, as in vLLM.
A batch in which no request uses an adjustment has no such arrays, and its step is compiled without this module.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from llm_jax.decode.options import Adjustment
from llm_jax.shapes import Array, Bool, Float, Int, pytree


@pytree
class Adjusted:
    """One `Adjustment` per row as arrays, and the tokens counted so far. A neutral one leaves the logits bit-equal."""

    bias_BV: Float[Array, "B V"]  # −∞ for a token that is not allowed
    ends_BV: Bool[Array, "B V"]
    first_end_B: Int[Array, "B"]  # the row may end once prompt and answer have this length
    in_prompt_BV: Bool[Array, "B V"]
    counts_BV: Int[Array, "B V"]  # of the answer's tokens
    repetition_B: Float[Array, "B"]
    frequency_B: Float[Array, "B"]
    presence_B: Float[Array, "B"]


def row_of(adjustment: Adjustment, prompt: Sequence[int], vocab_size: int) -> Adjusted:
    """The arrays of a new request, as a batch of one row."""
    bias_V = np.zeros(vocab_size, np.float32)
    if adjustment.allowed_tokens is not None:
        bias_V[:] = -np.inf
        bias_V[list(adjustment.allowed_tokens)] = 0
    for token, bias in adjustment.logit_bias:
        bias_V[token] += bias
    ends_V, in_prompt_V = np.zeros((2, vocab_size), bool)
    ends_V[list(adjustment.ends)] = True
    in_prompt_V[list(prompt)] = True
    penalties = adjustment.repetition_penalty, adjustment.frequency_penalty, adjustment.presence_penalty
    repetition_B, frequency_B, presence_B = (jnp.asarray([penalty], jnp.float32) for penalty in penalties)
    return Adjusted(
        bias_BV=jnp.asarray(bias_V[None]),
        ends_BV=jnp.asarray(ends_V[None]),
        first_end_B=jnp.asarray([len(prompt) + adjustment.min_tokens], jnp.int32),
        in_prompt_BV=jnp.asarray(in_prompt_V[None]),
        counts_BV=jnp.zeros((1, vocab_size), jnp.int32),
        repetition_B=repetition_B,
        frequency_B=frequency_B,
        presence_B=presence_B,
    )


def unchanged(rows: int, vocab_size: int) -> Adjusted:
    """Arrays that leave the logits of all rows unchanged."""
    one = row_of(Adjustment(), [], vocab_size)
    return jax.tree.map(lambda x: jnp.repeat(x, rows, axis=0), one)


def put(adjusted: Adjusted, row: Int[Array, ""], one: Adjusted) -> Adjusted:
    """Replaces `row` by `one`."""
    return jax.tree.map(lambda all_, x: all_.at[row].set(x[0]), adjusted, one)


def count(adjusted: Adjusted, token_B: Int[Array, "B"]) -> Adjusted:
    """Counts one more token of each row's answer."""
    counts_BV = adjusted.counts_BV.at[jnp.arange(len(token_B)), token_B].add(1)
    return dataclasses.replace(adjusted, counts_BV=counts_BV)


def adjust(logits_BV: Float[Array, "B V"], adjusted: Adjusted, lengths_B: Int[Array, "B"]) -> Float[Array, "B V"]:
    """The logits from which the next token is chosen; `lengths_B` counts the tokens of prompt and answer so far."""
    may_not_end_B = lengths_B < adjusted.first_end_B
    logits_BV = jnp.where(adjusted.ends_BV & may_not_end_B[:, None], -jnp.inf, logits_BV)
    logits_BV = logits_BV + adjusted.bias_BV
    in_answer_BV = adjusted.counts_BV > 0
    repetition_B1 = adjusted.repetition_B[:, None]
    repeated_BV = jnp.where(logits_BV > 0, logits_BV / repetition_B1, logits_BV * repetition_B1)
    logits_BV = jnp.where(adjusted.in_prompt_BV | in_answer_BV, repeated_BV, logits_BV)
    logits_BV = logits_BV - adjusted.frequency_B[:, None] * adjusted.counts_BV
    return logits_BV - adjusted.presence_B[:, None] * in_answer_BV
