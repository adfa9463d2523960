"""x·W + b as one flat product, with its gradient by hand, and with weights stored for decoding.

- The weight's gradient is written as xᵀ·d (`products.transposed_product`). JAX's own gradient transposes the product,
  at half the speed on two AVX-512 cores. The bias' gradient is summed from the same d; otherwise XLA computes d twice.
- Decoding on a CPU multiplies few rows. Its weights are stored with the outputs first (`output_first`), in 32, 16 or 8
  bits; `narrow` computes the products and has what they gain.

On a GPU only the gradient is by hand, for sums in float32.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from llm_jax.kernels.narrow import output_first_product, quantised
from llm_jax.kernels.products import summed_product, transposed_product
from llm_jax.layers.linear import Linear
from llm_jax.shapes import Array, Float, pytree


@pytree
class OutputFirst(Linear):
    """A `Linear` stored for decoding on a CPU: its weight has its output dimensions first. `output_first` makes it."""

    scale: Float[Array, "..."] | None = None  # output dimensions; of an int8 weight


def output_first(layer: Linear, n_inputs: int = 1, number: str | None = None) -> OutputFirst:
    """A copy with the weight transposed, of which `n_inputs` dimensions are inputs; `linear_on_cpu` accepts it.

    `number` is the number format of the copy (float32, bfloat16, int8); None: the layer's.
    """
    weight, scale = jnp.moveaxis(layer.weight, range(n_inputs), range(-n_inputs, 0)), None
    outputs = weight.shape[: weight.ndim - n_inputs]
    if number == "int8":
        flat, scale = quantised(weight.reshape(math.prod(outputs), -1))
        weight, scale = flat.reshape(weight.shape), scale.reshape(outputs)
    elif number is not None:
        weight = weight.astype(number)
    return OutputFirst(weight, layer.bias, scale)


def linear_on_cpu(layer: Linear, x: Float[Array, "B *inputs"], n_inputs: int = 1) -> Float[Array, "B *outputs"]:
    flat, bias = _flat(layer, x, n_inputs)
    if isinstance(layer, OutputFirst):
        outputs = layer.weight.shape[: layer.weight.ndim - n_inputs]
        weight = layer.weight.reshape(-1, flat.shape[-1])
        scale = None if layer.scale is None else layer.scale.reshape(-1)
        affine = _plus(output_first_product(flat, weight, scale), bias)
    else:
        outputs = layer.weight.shape[n_inputs:]
        weight = layer.weight.reshape(flat.shape[-1], -1).astype(x.dtype)
        affine = _affine_on_cpu(flat, weight, bias)
    return affine.reshape(*affine.shape[:-1], *outputs)


def linear_on_gpu(layer: Linear, x: Float[Array, "B *inputs"], n_inputs: int = 1) -> Float[Array, "B *outputs"]:
    flat, bias = _flat(layer, x, n_inputs)
    affine = _affine_on_gpu(flat, layer.weight.reshape(flat.shape[-1], -1).astype(x.dtype), bias)
    return affine.reshape(*affine.shape[:-1], *layer.weight.shape[n_inputs:])


def _flat(layer: Linear, x: Array, n_inputs: int) -> tuple[Array, Array | None]:
    """x and bias with their feature dimensions merged into one."""
    bias = None if layer.bias is None else layer.bias.reshape(-1).astype(x.dtype)
    return x.reshape(*x.shape[: x.ndim - n_inputs], -1), bias


def _plus(product: Array, bias: Array | None) -> Array:
    return product if bias is None else product + bias


def _with_gradient(weight_gradient: Callable[[Array, Array], Array]) -> Callable[[Array, Array, Array | None], Array]:
    """x·W + b for a flat W; `weight_gradient` is one of `kernels.products`."""

    @jax.custom_vjp
    def affine(x, weight, bias):
        return _plus(x @ weight, bias)

    def forward(x, weight, bias):
        return _plus(x @ weight, bias), (x, weight, bias)

    def backward(kept, d):
        x, weight, bias = kept
        d_bias = None if bias is None else d.reshape(-1, d.shape[-1]).sum(0)
        return jnp.einsum("...o,io->...i", d, weight), weight_gradient(x, d).astype(weight.dtype), d_bias

    affine.defvjp(forward, backward)
    return affine


_affine_on_cpu, _affine_on_gpu = _with_gradient(transposed_product), _with_gradient(summed_product)
