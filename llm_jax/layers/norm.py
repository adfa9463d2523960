"""Layer norm (Ba, Kiros & Hinton 2016, eq. 4), RMS norm (Zhang & Sennrich 2019, eq. 4), and where a norm stands.

Layer norm subtracts the mean and scales to unit variance; RMS norm only scales to unit mean square. Means are computed
in float32 for every compute format: a bfloat16 mean over 768 values has two digits.
"""

from collections.abc import Callable

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


def residual(
    half: Callable[[Array], Array],
    x_BTD: Float[Array, "B T D"],
    norm: Norm,
    normalise: Callable[..., Array],
    place: str,
    epsilon: float,
) -> Float[Array, "B T D"]:
    """norm(x + half(x)) where `place` is "post" (Vaswani et al. 2017, §3.1); x + half(norm(x)) where it is "pre".

    Post-norm keeps the stream's size at every depth and needs a warm-up; pre-norm lets the stream grow, needs one more
    norm at the end, and trains without (Xiong et al. 2020).
    """
    if place == "post":
        return normalise(norm, x_BTD + half(x_BTD), epsilon)
    return x_BTD + half(normalise(norm, x_BTD, epsilon))
