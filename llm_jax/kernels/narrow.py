"""Products of float32 rows with weights of 32, 16 or 8 bits, for decoding on CPUs: a step reads every weight.

Weights have their output dimension first. XLA:CPU has kernels for products of two bfloat16 or two int8 matrices; given
float32 rows it would first convert the whole weight in memory, which takes longer than a float32 product. So the rows
are written as two numbers of the weight's format, one product computes both, and their sum is nearly as good as a
product of float32 rows:

- bfloat16: x = h + l with 8 bits of mantissa each. What is lost is 2⁻¹⁷ of each number.
- int8: x = t·(h + l/254) with t = max|x|/127, h and l whole numbers from −127 to 127. What is lost is at most
  max|x|/64,516. The weight is s·Q, Q in whole numbers, with one scale s for each output: s = max|w|/127. Sums of int8
  products are exact, so a row's result does not depend on the other rows.

With 1, 8 and 32 rows int8 weights are read at 8.6, 5.7 and 3.5 billion a second, float32 ones at 3.3, 2.6 and 1.5 (two
cores of a Xeon with AVX-512 and AMX, shared; docs/benchmarks.md has every form).
"""

from typing import Any

import jax
import jax.numpy as jnp

from llm_jax.shapes import Array, Float, Int, pytree

LARGEST = 127  # of an int8 number whose negative exists as well
DIGIT = 2 * LARGEST  # what the second number counts in: the rest after rounding is at most half of the first's unit


def output_first_product(
    x: Float[Array, "*rest inputs"], weight: Array, scale: Float[Array, "outputs"] | None = None
) -> Float[Array, "*rest outputs"]:
    """x·Wᵀ for a weight of any format; an int8 one has a scale for each output."""
    if scale is not None:
        return int8_product(x, weight, scale)
    if weight.dtype == jnp.bfloat16 and x.dtype == jnp.float32:
        return bfloat16_product(x, weight)
    return _float_product(x, weight.astype(x.dtype))


def _float_product(
    x: Float[Array, "*rest inputs"], weight: Float[Array, "outputs inputs"]
) -> Float[Array, "*rest outputs"]:
    """x·Wᵀ as (W·xᵀ)ᵀ: of four ways to write it, the only one that is fast for every number of rows."""
    rows = jax.lax.optimization_barrier(x.reshape(-1, x.shape[-1]).T)
    products = jax.lax.optimization_barrier(jnp.einsum("oi,ib->ob", weight, rows))
    return products.T.reshape(*x.shape[:-1], -1)


@pytree
class Int8Rows:
    """A matrix of int8 numbers with one scale for each row: an embedding, and the head that may be the same matrix."""

    weight: Int[Array, "V D"]
    scale: Float[Array, "V"]

    def __getitem__(self, row: Int[Array, "*rest"]) -> Float[Array, "*rest D"]:
        """The embedding of tokens."""
        return self.weight[row].astype(jnp.float32) * self.scale[row][..., None]


def bfloat16_product(
    x: Float[Array, "*rest inputs"], weight: Float[Array, "outputs inputs"]
) -> Float[Array, "*rest outputs"]:
    """x·Wᵀ for a bfloat16 W."""
    rows = x.reshape(-1, x.shape[-1])
    # `reduce_precision`, because XLA may leave out a conversion to bfloat16 and back.
    high = jax.lax.reduce_precision(rows, exponent_bits=8, mantissa_bits=7)
    both = jnp.concatenate([high, rows - high]).astype(weight.dtype)
    high, low = jnp.split(_product(both, weight, jnp.float32), 2)
    return (high + low).astype(x.dtype).reshape(*x.shape[:-1], -1)


@jax.jit  # fused, so that no float32 copy of the weight comes into memory
def quantised(weight: Float[Array, "outputs inputs"]) -> tuple[Int[Array, "outputs inputs"], Float[Array, "outputs"]]:
    """W as int8 numbers and one scale for each output."""
    weight = weight.astype(jnp.float32)
    largest = jnp.abs(weight).max(axis=-1)
    scale = jnp.where(largest > 0, largest, 1) / LARGEST
    return jnp.round(weight / scale[:, None]).astype(jnp.int8), scale


def int8_rows(matrix_VD: Float[Array, "V D"]) -> Int8Rows:
    return Int8Rows(*quantised(matrix_VD))


def int8_product(
    x: Float[Array, "*rest inputs"], weight: Int[Array, "outputs inputs"], scale: Float[Array, "outputs"]
) -> Float[Array, "*rest outputs"]:
    """x·Wᵀ for W = scale·weight, as `quantised` returns them."""
    rows = x.reshape(-1, x.shape[-1]).astype(jnp.float32)
    unit = jnp.maximum(jnp.abs(rows).max(axis=-1, keepdims=True), jnp.finfo(jnp.float32).tiny * LARGEST) / LARGEST
    steps = rows / unit
    high = jnp.round(steps)
    both = jnp.concatenate([high, jnp.round((steps - high) * DIGIT)]).astype(jnp.int8)
    high, low = jnp.split(_product(both, weight, jnp.int32).astype(jnp.float32), 2)
    return ((high + low / DIGIT) * unit * scale).astype(x.dtype).reshape(*x.shape[:-1], -1)


def _product(rows: Array, weight: Array, result: Any) -> Array:
    """The barriers keep XLA from fusing what stands before and after into the product, which it would then compute
    without its library.
    """
    rows = jax.lax.optimization_barrier(rows)
    products = jnp.einsum("bi,oi->bo", rows, weight, preferred_element_type=result)
    return jax.lax.optimization_barrier(products)
