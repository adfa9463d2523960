"""Layer norm (Ba, Kiros & Hinton 2016, eq. 4) and RMS norm (Zhang & Sennrich 2019, eq. 4).

Layer norm subtracts the mean and scales to unit variance; RMS norm only scales to unit mean square. Means are computed
in float32 for every compute format: a bfloat16 mean over 768 values has two digits.
"""

import jax
import jax.numpy as jnp

from llm_jax.shapes import Array, Float, pytree


@pytree
class Norm:
    gain: Float[Array, "D"]
    bias: Float[Array, "D"]


@pytree
class RMSNorm:
    gain: Float[Array, "D"]


def init_norm(width: int) -> Norm:
    return Norm(gain=jnp.ones(width), bias=jnp.zeros(width))


def init_rms_norm(width: int) -> RMSNorm:
    return RMSNorm(gain=jnp.ones(width))


def layer_norm(norm: Norm, x: Float[Array, "*rest D"], epsilon: float) -> Float[Array, "*rest D"]:
    """(x − mean) / √(variance + ε) · gain + bias over the last axis; the variance is the biased one, as in PyTorch."""
    wide = x.astype(jnp.float32)
    centred = wide - wide.mean(axis=-1, keepdims=True)
    variance = jnp.square(centred).mean(axis=-1, keepdims=True)
    return (centred * jax.lax.rsqrt(variance + epsilon) * norm.gain + norm.bias).astype(x.dtype)


def rms_norm(norm: RMSNorm, x: Float[Array, "*rest D"], epsilon: float) -> Float[Array, "*rest D"]:
    """x / √(mean(x²) + ε) · gain over the last axis."""
    wide = x.astype(jnp.float32)
    mean_square = jnp.square(wide).mean(axis=-1, keepdims=True)
    return (wide * jax.lax.rsqrt(mean_square + epsilon) * norm.gain).astype(x.dtype)
