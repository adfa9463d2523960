"""Batch norm (Ioffe & Szegedy 2015): each feature is centred and scaled over the examples, then gain and bias.

In training, mean and variance (the moments) come from the batch, so the examples of a batch influence each other. In
evaluation a prediction must not depend on the other examples: `calibrate` computes the moments of many training
examples once, and a norm that stores moments uses them. Left out: running averages, which estimate the same moments
during training but need state that changes in the forward pass. `llm_jax.autodiff.by_hand.batch_norm` derives the
gradient.
"""

import dataclasses

import jax
import jax.numpy as jnp

from llm_jax.shapes import Array, Float, pytree

EPSILON = 1e-5


@pytree
class Moments:
    mean: Float[Array, "D"]
    variance: Float[Array, "D"]  # the biased one, as in PyTorch's forward


@pytree
class BatchNorm:
    gain: Float[Array, "D"]
    bias: Float[Array, "D"]
    moments: Moments | None = None  # None: use the batch's moments. None has no leaves, so no optimizer updates it


def init_batch_norm(width: int) -> BatchNorm:
    return BatchNorm(gain=jnp.ones(width), bias=jnp.zeros(width))


def batch_norm(norm: BatchNorm, x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
    """(x − mean) / √(variance + ε) · gain + bias; all axes but the last count as examples."""
    moments = norm.moments or moments_of(x)
    normal = (x - moments.mean) * jax.lax.rsqrt(moments.variance + EPSILON)
    return normal * norm.gain + norm.bias


def moments_of(x: Float[Array, "*batch D"]) -> Moments:
    axes = tuple(range(x.ndim - 1))
    return Moments(mean=x.mean(axis=axes), variance=x.var(axis=axes))


def calibrate(norm: BatchNorm, x: Float[Array, "*batch D"]) -> BatchNorm:
    """The same norm with the moments of `x` stored: its output for one example no longer depends on the others."""
    return dataclasses.replace(norm, moments=moments_of(x))
