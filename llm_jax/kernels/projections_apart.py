"""Queries, keys and values from three matrix products instead of one product that is split, for GPUs.

cuDNN's attention reads whole arrays, so XLA would copy the slices of a single product. These copies cost more than two
more products, as the compiled step of GPT-2 124M for an H200 shows (`benchmarks/gpu_compiled.py`; the gain of this and
three other kernels together is in `gelu`).
"""

import jax
import jax.numpy as jnp

from llm_jax.layers.linear import Linear
from llm_jax.shapes import Array, Float


def projections_apart(layer: Linear, x: Float[Array, "B T inputs"]) -> tuple[Float[Array, "B T *outputs"], ...]:
    """x·W + b, returned as one array per index of the first output dimension (queries, keys, values)."""
    weight = layer.weight.reshape(*layer.weight.shape[:2], -1).astype(x.dtype)
    bias = jnp.zeros(weight.shape[1:], x.dtype) if layer.bias is None else layer.bias.reshape(weight.shape[1:])
    parts = _affine_apart(x, weight, bias.astype(x.dtype))
    return tuple(part.reshape(*x.shape[:-1], *layer.weight.shape[2:]) for part in parts)


@jax.custom_vjp
def _affine_apart(
    x: Float[Array, "*rest inputs"], weight: Float[Array, "inputs parts outputs"], bias: Float[Array, "parts outputs"]
) -> tuple[Float[Array, "*rest outputs"], ...]:
    # Each product has its own x: without separate inputs XLA fuses the three products again.
    xs = jax.lax.optimization_barrier((x,) * bias.shape[0])
    return tuple(x @ weight[:, part] + bias[part] for part, x in enumerate(xs))


def _forward(x, weight, bias):
    return _affine_apart(x, weight, bias), (x, weight)


def _backward(kept, gradients):
    """Stacks the three gradients, so that x and W need one product each; sums are in float32 or wider.

    Dimensions are not merged, so that one of them may be sharded over devices.
    """
    x, weight = kept
    d = jnp.stack(gradients, axis=-2)
    d_tokens, x_tokens = d.reshape(-1, *d.shape[-2:]), x.reshape(-1, x.shape[-1])
    wide = jnp.promote_types(x.dtype, jnp.float32)
    d_weight = jnp.einsum("ti,tpo->ipo", x_tokens, d_tokens, preferred_element_type=wide).astype(weight.dtype)
    return jnp.einsum("...po,ipo->...i", d, weight), d_weight, d_tokens.sum(0)


_affine_apart.defvjp(_forward, _backward)
