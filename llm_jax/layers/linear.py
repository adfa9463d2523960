"""An affine map between groups of dimensions, stored input first, the way HF's Conv1D stores it."""

import math

import jax
import jax.numpy as jnp

from llm_jax.shapes import Array, Float, Key, pytree

TURNED = range(6, 17)  # rows: the batch of a decoding step, never of a training step


@pytree
class Linear:
    weight: Float[Array, "..."]  # input dimensions, then output dimensions
    bias: Float[Array, "..."]  # output dimensions


@pytree
class OutputFirst(Linear):
    """The same map with its weight's output dimensions first: made by `output_first`, for decoding a single row."""


def output_first(layer: Linear) -> OutputFirst:
    """A turned copy: for one row a CPU reads it at 52 GB/s instead of 43, for 2 to 15 more slowly."""
    n_inputs = layer.weight.ndim - layer.bias.ndim
    return OutputFirst(weight=jnp.moveaxis(layer.weight, range(n_inputs), range(-n_inputs, 0)), bias=layer.bias)


def init_linear(key: Key[Array, ""], inputs: tuple[int, ...], outputs: tuple[int, ...], std: float) -> Linear:
    return Linear(weight=std * jax.random.normal(key, inputs + outputs), bias=jnp.zeros(outputs))


def linear(layer: Linear, x: Float[Array, "B *inputs"], n_inputs: int = 1) -> Float[Array, "B *outputs"]:
    """x·W + b, where the last `n_inputs` dimensions of x meet the first `n_inputs` of W.

    Computed as one flat matrix product: weights are reshaped, never transposed, and XLA sees the plainest form.
    """
    flat = x.reshape(*x.shape[: x.ndim - n_inputs], -1)
    bias = layer.bias.reshape(-1).astype(x.dtype)
    if isinstance(layer, OutputFirst):
        affine = _output_first_product(flat, layer.weight.reshape(bias.size, -1).astype(x.dtype)) + bias
    else:
        weight = layer.weight.reshape(-1, bias.size).astype(x.dtype)
        turned = math.prod(flat.shape[:-1]) in TURNED and jax.default_backend() == "cpu"
        affine = _turned_product(flat, weight) + bias if turned else _affine(flat, weight, bias)
    return affine.reshape(*affine.shape[:-1], *layer.bias.shape)


def _turned_product(
    x: Float[Array, "*rest inputs"], weight: Float[Array, "inputs outputs"]
) -> Float[Array, "*rest outputs"]:
    """x·W from xᵀ: of so few rows XLA's other kernel for CPUs is a tenth faster, and this is the form it gets.

    The barrier keeps XLA from moving the turn into the product.
    """
    rows = jax.lax.optimization_barrier(x.reshape(-1, x.shape[-1]).T)
    return jnp.einsum("ib,io->bo", rows, weight).reshape(*x.shape[:-1], weight.shape[-1])


def _output_first_product(
    x: Float[Array, "*rest inputs"], weight: Float[Array, "outputs inputs"]
) -> Float[Array, "*rest outputs"]:
    """x·Wᵀ as W·xᵀ, turned back: of the four ways to write it the only one that is fast for every number of rows."""
    rows = jax.lax.optimization_barrier(x.reshape(-1, x.shape[-1]).T)
    products = jax.lax.optimization_barrier(jnp.einsum("oi,ib->ob", weight, rows))
    return products.T.reshape(*x.shape[:-1], -1)


@jax.custom_vjp
def _affine(
    x: Float[Array, "*rest inputs"], weight: Float[Array, "inputs outputs"], bias: Float[Array, "outputs"]
) -> Float[Array, "*rest outputs"]:
    """x·W + b, whose weight gradient is written as xᵀ·d: JAX would turn the product instead, at half the speed."""
    return x @ weight + bias


def _affine_forward(x, weight, bias):
    return x @ weight + bias, (x, weight)


def _affine_backward(kept, d):
    x, weight = kept
    d_bias = d.reshape(-1, d.shape[-1]).sum(0)  # of d as the products read it, or XLA makes it twice
    return jnp.einsum("...o,io->...i", d, weight), transposed_product(x, d).astype(weight.dtype), d_bias


_affine.defvjp(_affine_forward, _affine_backward)


def linear_apart(layer: Linear, x: Float[Array, "B T inputs"]) -> tuple[Float[Array, "B T *outputs"], ...]:
    """x·W + b, one array for each index of the first output dimension, each from a product of its own.

    For kernels that read whole arrays: to cut up what one product has written costs a GPU more than three products.
    """
    weight = layer.weight.reshape(*layer.weight.shape[:2], -1).astype(x.dtype)
    parts = _affine_apart(x, weight, layer.bias.reshape(weight.shape[1:]).astype(x.dtype))
    return tuple(part.reshape(*x.shape[:-1], *layer.bias.shape[1:]) for part in parts)


@jax.custom_vjp
def _affine_apart(
    x: Float[Array, "*rest inputs"], weight: Float[Array, "inputs parts outputs"], bias: Float[Array, "parts outputs"]
) -> tuple[Float[Array, "*rest outputs"], ...]:
    # Each product has its own x: of products that share one XLA makes one again.
    xs = jax.lax.optimization_barrier((x,) * bias.shape[0])
    return tuple(x @ weight[:, part] + bias[part] for part, x in enumerate(xs))


def _affine_apart_forward(x, weight, bias):
    return _affine_apart(x, weight, bias), (x, weight)


def _affine_apart_backward(kept, gradients):
    """With the gradients side by side again: one product each for x and W, summed over all tokens in float32 at least.

    Dimensions are not merged, so that one of them may be cut over devices.
    """
    x, weight = kept
    d = jnp.stack(gradients, axis=-2)
    d_tokens, x_tokens = d.reshape(-1, *d.shape[-2:]), x.reshape(-1, x.shape[-1])
    wide = jnp.promote_types(x.dtype, jnp.float32)
    d_weight = jnp.einsum("ti,tpo->ipo", x_tokens, d_tokens, preferred_element_type=wide).astype(weight.dtype)
    return jnp.einsum("...po,ipo->...i", d, weight), d_weight, d_tokens.sum(0)


_affine_apart.defvjp(_affine_apart_forward, _affine_apart_backward)


def transposed_product(
    x: Float[Array, "*rest inputs"], y: Float[Array, "*rest outputs"]
) -> Float[Array, "inputs outputs"]:
    """xᵀ·y summed over all tokens, in float32 at least.

    On a CPU one of three arrays must be turned: x, or y and the result. The smaller way is taken; the barrier keeps XLA
    from moving the turn back into the product. A GPU's products read either way.
    """
    x, y = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    wide = jnp.promote_types(x.dtype, jnp.float32)
    if jax.default_backend() != "cpu" or x.size <= y.size + x.shape[-1] * y.shape[-1]:
        return jnp.einsum("ti,to->io", x, y, preferred_element_type=wide)
    turned = jnp.einsum("to,ti->oi", y, x, preferred_element_type=wide)
    return jax.lax.optimization_barrier(turned).T
