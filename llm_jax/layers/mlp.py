"""The Transformer's position-wise MLP: up to four times the width, GELU, down again (Vaswani et al. 2017, §3.3)."""

import math

import jax
import jax.numpy as jnp

from llm_jax.layers.linear import Linear, init_linear, linear
from llm_jax.shapes import Array, Float, Key, pytree


@pytree
class MLP:
    up: Linear  # D → F
    down: Linear  # F → D


def init_mlp(key: Key[Array, ""], d_model: int, d_hidden: int, std: float, residual_std: float) -> MLP:
    up_key, down_key = jax.random.split(key)
    return MLP(
        up=init_linear(up_key, (d_model,), (d_hidden,), std),
        down=init_linear(down_key, (d_hidden,), (d_model,), residual_std),
    )


def mlp(layer: MLP, x_BTD: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
    """down(gelu(up(x))), with the tanh form of GELU that GPT-2 was trained with (Hendrycks & Gimpel 2016, §2)."""
    hidden_BTF = gelu(linear(layer.up, x_BTD))
    return linear(layer.down, hidden_BTF)


def gelu(x: Float[Array, "*rest F"]) -> Float[Array, "*rest F"]:
    """x/2·(1 + tanh u) with u = √(2/π)·(x + 0.044715·x³), the tanh form; on a GPU its gradient is made from x alone."""
    return _gelu_from_x(x) if jax.default_backend() == "gpu" else jax.nn.gelu(x, approximate=True)


@jax.custom_vjp
def _gelu_from_x(x: Float[Array, "*rest F"]) -> Float[Array, "*rest F"]:
    # JAX would keep a second array of F numbers a token for the gradient. Without it nothing but x and the result is
    # written, and cuBLAS writes both as it multiplies.
    return jax.nn.gelu(x, approximate=True)


def _forward(x: Array):
    return _gelu_from_x(x), x


def _backward(x: Array, d: Array):
    """d·(½·(1 + tanh u) + x/2·(1 − tanh² u)·u′). Barriers keep the tanh of the forward pass from being stored for it,
    and the result from being stored in float32 for the bias' gradient."""
    wide = jax.lax.optimization_barrier(x).astype(jnp.promote_types(x.dtype, jnp.float32))
    tanh = jnp.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3))
    slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * wide**2)
    d_x = d * (0.5 * (1 + tanh) + 0.5 * wide * (1 - tanh**2) * slope)
    return (jax.lax.optimization_barrier(d_x.astype(x.dtype)),)


_gelu_from_x.defvjp(_forward, _backward)
