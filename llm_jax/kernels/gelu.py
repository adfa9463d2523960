"""Tanh GELU with a gradient computed from x alone, for GPUs.

JAX's own gradient keeps a second array of F numbers per token. Without it only x and the result are written, and cuBLAS
writes both in the matrix product (`BIAS_GELU_AUX` in the compiled step, `tests/benchmarks/test_compiled.py`). Together
with `stream`, `norm` and `projections_apart` this reduces the passes over residual stream, norms and GELU of a GPT-2
124M step from at least 209 to at least 115 ms on an H200: bounds from `benchmarks/gpu_compiled.py`, not measured times.
"""

import math

import jax
import jax.numpy as jnp

from llm_jax.layers.mlp import gelu_tanh
from llm_jax.shapes import Array, Float


@jax.custom_vjp
def gelu_tanh_from_x(x: Float[Array, "*rest F"]) -> Float[Array, "*rest F"]:
    return gelu_tanh(x)


def _forward(x: Array):
    return gelu_tanh_from_x(x), x


def _backward(x: Array, d: Array):
    """d·(½·(1 + tanh u) + x/2·(1 − tanh² u)·u′).

    The first barrier keeps XLA from storing the tanh of the forward pass. The second keeps XLA from storing the result
    in float32 for the gradient of the bias.
    """
    wide = jax.lax.optimization_barrier(x).astype(jnp.promote_types(x.dtype, jnp.float32))
    tanh = jnp.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3))
    slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * wide**2)
    d_x = d * (0.5 * (1 + tanh) + 0.5 * wide * (1 - tanh**2) * slope)
    return (jax.lax.optimization_barrier(d_x.astype(x.dtype)),)


gelu_tanh_from_x.defvjp(_forward, _backward)
