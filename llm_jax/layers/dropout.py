"""Dropout (Srivastava et al. 2014): in training, each number is set to zero with probability `rate`.

The numbers kept are scaled by 1/(1 − rate), so that the expected value stays the same. Dropout helps where a model sees
a small data set many times; a model that sees its data once, as in pretraining at scale, does better without.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from llm_jax.shapes import Array, Float, Key


class Dropout(NamedTuple):
    """The rate, and the random key: the same key drops the same numbers."""

    key: Key[Array, ""]
    rate: float | Array


def dropout(x: Float[Array, "*shape"], noise: Dropout | None) -> Float[Array, "*shape"]:
    """x with random numbers set to zero; x itself where `noise` is None, as in evaluation.

    Raises:
        ValueError: the rate lies outside [0, 1). A traced rate is not checked, because its value is not known yet.
    """
    if noise is None:
        return x
    if not isinstance(noise.rate, Tracer) and not 0 <= noise.rate < 1:
        raise ValueError(f"the rate of dropout must lie in [0, 1); got {noise.rate}")
    is_kept = jax.random.bernoulli(noise.key, 1 - noise.rate, x.shape)
    return jnp.where(is_kept, x / (1 - noise.rate), 0).astype(x.dtype)


def split(noise: Dropout | None, count: int) -> list[Dropout | None]:
    """`count` Dropouts with different keys, one for each place in the model."""
    if noise is None:
        return [None] * count
    return [Dropout(key, noise.rate) for key in jax.random.split(noise.key, count)]
