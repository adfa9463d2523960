"""Dropout (Srivastava et al. 2014): while training, every number is left out with some probability.

What stays is scaled up by 1/(1 − rate), so that the mean remains what it is without. A model needs it where the data
are few and seen many times; one that goes through its data once, as in pretraining at scale, does better without.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from llm_jax.shapes import Array, Float, Key


class Dropout(NamedTuple):
    """How often, and which: the same key leaves out the same numbers."""

    key: Key[Array, ""]
    rate: float | Array


def dropout(x: Float[Array, "*shape"], how: Dropout | None) -> Float[Array, "*shape"]:
    """x with some numbers set to zero; x itself where `how` is None, that is, outside training.

    Raises ValueError for a rate outside [0, 1), unless it is traced and so not yet known.
    """
    if how is None:
        return x
    if not isinstance(how.rate, Tracer) and not 0 <= how.rate < 1:
        raise ValueError(f"the rate of dropout must lie in [0, 1); got {how.rate}")
    is_kept = jax.random.bernoulli(how.key, 1 - how.rate, x.shape)
    return jnp.where(is_kept, x / (1 - how.rate), 0).astype(x.dtype)


def split(how: Dropout | None, count: int) -> list[Dropout | None]:
    """For `count` places, so that each leaves out other numbers."""
    if how is None:
        return [None] * count
    return [Dropout(key, how.rate) for key in jax.random.split(how.key, count)]
