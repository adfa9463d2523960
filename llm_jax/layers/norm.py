"""Layer norm (Ba, Kiros & Hinton 2016, eq. 4): subtract the mean, scale to unit variance, apply gain and bias.

Mean and variance are computed in float32 for every compute format: a bfloat16 mean over 768 values has two digits.
"""

import jax
import jax.numpy as jnp

from llm_jax.shapes import Array, Float, pytree


@pytree
class Norm:
    gain: Float[Array, "D"]
    bias: Float[Array, "D"]


def init_norm(d_model: int) -> Norm:
    return Norm(gain=jnp.ones(d_model), bias=jnp.zeros(d_model))


def layer_norm(norm: Norm, x: Float[Array, "*rest D"], epsilon: float) -> Float[Array, "*rest D"]:
    """(x − mean) / √(variance + ε) · gain + bias over the last axis; the variance is the biased one, as in PyTorch."""
    wide = x.astype(jnp.float32)
    centred = wide - wide.mean(axis=-1, keepdims=True)
    variance = jnp.square(centred).mean(axis=-1, keepdims=True)
    return (centred * jax.lax.rsqrt(variance + epsilon) * norm.gain + norm.bias).astype(x.dtype)
