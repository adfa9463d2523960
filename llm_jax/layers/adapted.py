"""A linear map with a low-rank one beside it: x·W + b + s·(x·A)·B (LoRA, Hu et al. 2021, eq. 3).

W and b stay as they are; A and B are trained. The products with A and B are linear maps as well, so the kernel that
computes x·W computes them too. Dropout, where there is any, falls on the input of A only.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from llm_jax.layers.dropout import Dropout, dropout
from llm_jax.layers.linear import Linear
from llm_jax.shapes import Array, Float, Int, pytree


@pytree
class Adapted:
    """A `Linear` and its adapter, or several adapters for one batch.

    Several lie side by side along J: `owner_J` has the number of the adapter that a column of A belongs to, from 1, and
    `number_B` the adapter of every row of the batch, where 0 is none.
    """

    base: Linear
    down: Linear  # A: inputs → J
    up: Linear  # s·B: J → outputs
    noise: Dropout | None = None
    owner_J: Int[Array, "J"] | None = None
    number_B: Int[Array, "B"] | None = None


def with_adapters(kernel: Callable[..., Any], linear: Callable[..., Array] | None = None) -> Callable[..., Any]:
    """`kernel`, which computes a `Linear`, extended to compute an `Adapted`.

    Args:
        kernel: x·W + b, whole or as several arrays.
        linear: computes x·A, where `kernel` gives several arrays.
    """
    linear = linear or kernel

    def apply(layer: Linear | Adapted, x: Float[Array, "B *inputs"], *n_inputs: int, **named: int) -> Any:
        if not isinstance(layer, Adapted):
            return kernel(layer, x, *n_inputs, **named)
        low = linear(layer.down, dropout(x, layer.noise), *n_inputs, **named)
        low = _own_columns(layer, low)
        return jax.tree.map(jnp.add, kernel(layer.base, x, *n_inputs, **named), kernel(layer.up, low))

    return apply


def _own_columns(layer: Adapted, low: Float[Array, "B *rest J"]) -> Float[Array, "B *rest J"]:
    """x·A without the columns of adapters that belong to other rows of the batch."""
    if layer.owner_J is None:
        return low
    assert layer.number_B is not None, "adapters side by side need the number of each row's"
    is_own_BJ = layer.number_B[:, None] == layer.owner_J
    return jnp.where(is_own_BJ.reshape(low.shape[0], *(1,) * (low.ndim - 2), low.shape[-1]), low, 0)
