"""An affine map between groups of dimensions, stored input first, the way HF's Conv1D stores it."""

import jax
import jax.numpy as jnp

from llm_jax.shapes import Array, Float, Key, pytree


@pytree
class Linear:
    weight: Float[Array, "..."]  # input dimensions, then output dimensions
    bias: Float[Array, "..."] | None = None  # output dimensions


def init_linear(
    key: Key[Array, ""], inputs: tuple[int, ...], outputs: tuple[int, ...], std: float, has_bias: bool = True
) -> Linear:
    weight = std * jax.random.normal(key, inputs + outputs)
    return Linear(weight=weight, bias=jnp.zeros(outputs) if has_bias else None)


def linear(layer: Linear, x: Float[Array, "B *inputs"], n_inputs: int = 1) -> Float[Array, "B *outputs"]:
    """x·W + b, contracting the last `n_inputs` dimensions of x with the first `n_inputs` of W."""
    product = jnp.tensordot(x, layer.weight.astype(x.dtype), n_inputs)
    return product if layer.bias is None else product + layer.bias.astype(x.dtype)
