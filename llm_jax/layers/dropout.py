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


def dropout(x: Float[Array, "*shape"], noise: Dropout | None) -> Float[Array, "*shape"]:
    """x with some numbers set to zero; x itself where `noise` is None, that is, outside training.

    Raises ValueError for a rate outside [0, 1), unless it is traced and so not yet known.
    """
    if noise is None:
        return x
    if not isinstance(noise.rate, Tracer) and not 0 <= noise.rate < 1:
        raise ValueError(f"the rate of dropout must lie in [0, 1); got {noise.rate}")
    is_kept = jax.random.bernoulli(noise.key, 1 - noise.rate, x.shape)
    return jnp.where(is_kept, x / (1 - noise.rate), 0).astype(x.dtype)


def split(noise: Dropout | None, count: int) -> list[Dropout | None]:
    """For `count` places, so that each leaves out other numbers."""
    if noise is None:
        return [None] * count
    return [Dropout(key, noise.rate) for key in jax.random.split(noise.key, count)]
