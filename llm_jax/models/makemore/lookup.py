"""The bigram model as a neural network: row c of a table holds the logits of what follows character c.

A linear layer with a one-hot input looks up a row of its weight. Trained to convergence, the model reproduces the
counts: cross-entropy is least where the probabilities equal the frequencies.
"""

from dataclasses import dataclass

import jax.numpy as jnp

from llm_jax.models.makemore.letters import letters
from llm_jax.models.watch import Watch, unwatched
from llm_jax.shapes import Array, Float, Int, Key, pytree


@dataclass(frozen=True)
class Config:
    vocab_size: int
    """Characters, the line's end among them."""


@pytree
class Lookup:
    table: Float[Array, "V V"]


def init(key: Key[Array, ""], config: Config) -> Lookup:
    """Zeros: every character is equally likely and the loss is ln V. Nothing here needs a random start."""
    del key
    return Lookup(table=jnp.zeros((config.vocab_size, config.vocab_size)))


def dimension_letters(params: Lookup) -> Lookup:
    """A table, no matrix between features: the optimizer applies no weight decay."""
    del params
    (table,) = letters("VV")
    return Lookup(table=table)


def logits(params: Lookup, tokens_BT: Int[Array, "B T"], watch: Watch = unwatched) -> Float[Array, "B T V"]:
    return watch("logits", params.table[tokens_BT])
