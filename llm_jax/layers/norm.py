"""Layer norm (Ba, Kiros & Hinton 2016, eq. 4): centre, scale to unit variance, then gain and bias.

Statistics are taken in float32 whatever the stream's format: a bfloat16 mean over 768 values would keep two digits.
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
    return _layer_norm(norm, x, epsilon)


def _value(norm: Norm, x: Array, epsilon: float) -> Array:
    return _forward(norm, x, epsilon)[0]


def _forward(norm: Norm, x: Array, epsilon: float):
    wide = x.astype(jnp.float32)
    mean = wide.mean(axis=-1, keepdims=True)
    centred = wide - mean
    scale = jax.lax.rsqrt(jnp.square(centred).mean(axis=-1, keepdims=True) + epsilon)
    return (centred * scale * norm.gain + norm.bias).astype(x.dtype), (norm, x, mean, scale)


def _backward(epsilon: float, kept, d):
    """With n = (x − mean)·scale and e = d·gain: ∂x = scale·(e − mean(e) − n·mean(e·n)), ∂gain = Σ d·n, ∂bias = Σ d.

    By hand, because what JAX derives goes over the rows more often. The barrier is for GPUs: mean and scale are kept,
    or else they are made again, and with them an array of float32 numbers as large as the stream.
    """
    norm, x, *statistics = kept
    mean, scale = jax.lax.optimization_barrier(statistics)
    d = d.astype(jnp.float32)
    normal = (x.astype(jnp.float32) - mean) * scale
    scaled = d * norm.gain
    along = (scaled * normal).mean(axis=-1, keepdims=True)
    d_x = scale * (scaled - scaled.mean(axis=-1, keepdims=True) - normal * along)
    rows = tuple(range(d.ndim - 1))
    d_gain, d_bias = (d * normal).sum(rows).astype(norm.gain.dtype), d.sum(rows).astype(norm.bias.dtype)
    return Norm(d_gain, d_bias), d_x.astype(x.dtype)


_layer_norm = jax.custom_vjp(_value, nondiff_argnums=(2,))
_layer_norm.defvjp(_forward, _backward)
