"""The Transformer's position-wise MLP: project up, apply an activation, project down (Vaswani et al. 2017, §3.3)."""

import math
from collections.abc import Callable

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


def gelu_tanh(x: Float[Array, "*rest F"]) -> Float[Array, "*rest F"]:
    """x/2·(1 + tanh u) with u = √(2/π)·(x + 0.044715·x³): GPT-2's GELU (Hendrycks & Gimpel 2016, §2)."""
    return x * (0.5 * (1.0 + jnp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x**3)))))


def gelu(x: Float[Array, "*rest F"]) -> Float[Array, "*rest F"]:
    """x·Φ(x), Φ the standard normal CDF (Hendrycks & Gimpel 2016, §2), by erfc, which is accurate for x far below 0."""
    return x * (0.5 * jax.lax.erfc(-x * math.sqrt(0.5)))


# Keys are the values of `GPTConfig.activation`.
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu_tanh": gelu_tanh,
    "gelu": gelu,
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}


def mlp(
    layer: MLP,
    x_BTD: Float[Array, "B T D"],
    activation: Callable[[Array], Array] = gelu_tanh,
    linear: Callable[..., Array] = linear,
) -> Float[Array, "B T D"]:
    """down(activation(up(x)))."""
    return linear(layer.down, activation(linear(layer.up, x_BTD)))
