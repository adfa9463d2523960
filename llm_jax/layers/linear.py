"""An affine map between groups of dimensions, stored input first, the way HF's Conv1D stores it."""

import math

import jax
import jax.numpy as jnp

from llm_jax.shapes import Array, Float, Key, pytree


@pytree
class Linear:
    weight: Float[Array, "..."]  # input dimensions, then output dimensions
    bias: Float[Array, "..."]  # output dimensions


def init_linear(key: Key[Array, ""], inputs: tuple[int, ...], outputs: tuple[int, ...], std: float) -> Linear:
    return Linear(weight=std * jax.random.normal(key, inputs + outputs), bias=jnp.zeros(outputs))


def linear(layer: Linear, x: Float[Array, "B *inputs"], n_inputs: int = 1) -> Float[Array, "B *outputs"]:
    """x·W + b, where the last `n_inputs` dimensions of x meet the first `n_inputs` of W.

    Computed as one flat matrix product: weights are reshaped, never transposed, and XLA sees the plainest form.
    """
    inputs, outputs = layer.weight.shape[:n_inputs], layer.weight.shape[n_inputs:]
    flat = x.reshape(*x.shape[: x.ndim - n_inputs], math.prod(inputs))
    product = flat @ layer.weight.reshape(math.prod(inputs), math.prod(outputs)).astype(x.dtype)
    product += layer.bias.reshape(-1).astype(x.dtype)
    return product.reshape(*product.shape[:-1], *outputs)
