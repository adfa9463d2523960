"""Logits changed before a token is chosen, with vLLM's formulas and in vLLM's order (`vllm/v1/sample/sampler.py`).

    allowed tokens        all others become −∞
    min_tokens            tokens that would end the answer become −∞, until it has that many
    logit_bias            is added
    repetition penalty r  of a token in the prompt or the answer: a positive logit is divided by r, another one times r
                          (Keskar et al. 2019, "CTRL")
    frequency penalty     is subtracted as often as the token is in the answer
    presence penalty      is subtracted if it is there at all

Temperature and filters (`llm_jax.decode.choose`) follow. Log-probabilities are those before any of it, as by vLLM.

A batch where nobody asks for any of this has no such arrays, and its step is the same program as without this module.
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
    """An `Adjustment` for each row, and what has been counted for it; one that changes nothing leaves every bit."""

    bias_BV: Float[Array, "B V"]  # −∞: not allowed
    ends_BV: Bool[Array, "B V"]
    first_end_B: Int[Array, "B"]  # length of prompt and answer from which on the row may end
    in_prompt_BV: Bool[Array, "B V"]
    counts_BV: Int[Array, "B V"]  # of the answer's tokens
    repetition_B: Float[Array, "B"]
    frequency_B: Float[Array, "B"]
    presence_B: Float[Array, "B"]


def row_of(adjustment: Adjustment, prompt: Sequence[int], vocab_size: int) -> Adjusted:
    """A request that begins, as a batch of one row."""
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
    """Rows whose logits stay as they are."""
    one = row_of(Adjustment(), [], vocab_size)
    return jax.tree.map(lambda x: jnp.repeat(x, rows, axis=0), one)


def put(adjusted: Adjusted, row: Int[Array, ""], one: Adjusted) -> Adjusted:
    """`one` becomes the row."""
    return jax.tree.map(lambda all_, x: all_.at[row].set(x[0]), adjusted, one)


def count(adjusted: Adjusted, token_B: Int[Array, "B"]) -> Adjusted:
    """One more token in each row's answer."""
    counts_BV = adjusted.counts_BV.at[jnp.arange(len(token_B)), token_B].add(1)
    return dataclasses.replace(adjusted, counts_BV=counts_BV)


def adjust(logits_BV: Float[Array, "B V"], adjusted: Adjusted, lengths_B: Int[Array, "B"]) -> Float[Array, "B V"]:
    """What the next token is chosen from; `lengths_B` counts prompt and answer so far."""
    may_not_end_B = lengths_B < adjusted.first_end_B
    logits_BV = jnp.where(adjusted.ends_BV & may_not_end_B[:, None], -jnp.inf, logits_BV)
    logits_BV = logits_BV + adjusted.bias_BV
    in_answer_BV = adjusted.counts_BV > 0
    repetition_B1 = adjusted.repetition_B[:, None]
    repeated_BV = jnp.where(logits_BV > 0, logits_BV / repetition_B1, logits_BV * repetition_B1)
    logits_BV = jnp.where(adjusted.in_prompt_BV | in_answer_BV, repeated_BV, logits_BV)
    logits_BV = logits_BV - adjusted.frequency_B[:, None] * adjusted.counts_BV
    return logits_BV - adjusted.presence_B[:, None] * in_answer_BV
