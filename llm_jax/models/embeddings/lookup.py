"""An embedding is a row of a table, which is the product of a one-hot vector with the table.

    lookup(E, i) = E[i] = onehot(i)·E        gradient: dE = Σ onehot(i)ᵀ·dy — dy is added to row i, all others are zero

The product costs V·D multiplications for D numbers that are copied. So no program computes it; but it shows that the
lookup is linear in the table, and why the gradient of a row that occurs twice is the sum of both.
"""

import jax
import jax.numpy as jnp

from llm_jax.shapes import Array, Float, Int


def lookup(table_VD: Float[Array, "V D"], ids: Int[Array, "*rest"]) -> Float[Array, "*rest D"]:
    """The rows of `ids`."""
    return table_VD[ids]


def one_hot_product(table_VD: Float[Array, "V D"], ids: Int[Array, "*rest"]) -> Float[Array, "*rest D"]:
    """The same by the product."""
    return jax.nn.one_hot(ids, len(table_VD), dtype=table_VD.dtype) @ table_VD


def lookup_gradient(dy: Float[Array, "*rest D"], ids: Int[Array, "*rest"], vocab_size: int) -> Float[Array, "V D"]:
    """dE of `lookup`, by hand: each dy is added to its row."""
    width = dy.shape[-1]
    return jnp.zeros((vocab_size, width), dy.dtype).at[ids.reshape(-1)].add(dy.reshape(-1, width))
