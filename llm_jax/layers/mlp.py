"""The Transformer's position-wise MLP: project up, apply an activation, project down (Vaswani et al. 2017, §3.3).

A gated MLP multiplies what is projected up by an activated gate (Shazeer 2020, eq. 6); with SiLU it is SwiGLU.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from llm_jax.layers.adapted import Adapted
from llm_jax.layers.linear import Linear, init_linear, linear
from llm_jax.shapes import Array, Float, Key, pytree


@pytree
class MLP:
    up: Linear | Adapted  # D → F
    down: Linear | Adapted  # F → D
    gate: Linear | Adapted | None = None  # D → F


@pytree
class JoinedMLP:
    """A gated MLP with gate and up side by side, for decoding: one product instead of two."""

    gate_up: Linear  # D → (2, F)
    down: Linear  # F → D


def init_mlp(
    key: Key[Array, ""],
    d_model: int,
    d_hidden: int,
    std: float,
    residual_std: float,
    is_gated: bool = False,
    has_bias: bool = True,
) -> MLP:
    up_key, down_key = jax.random.split(key)
    gate_key = jax.random.fold_in(up_key, 1)
    return MLP(
        up=init_linear(up_key, (d_model,), (d_hidden,), std, has_bias),
        down=init_linear(down_key, (d_hidden,), (d_model,), residual_std, has_bias),
        gate=init_linear(gate_key, (d_model,), (d_hidden,), std, has_bias) if is_gated else None,
    )


def gelu_tanh(x: Float[Array, "*rest F"]) -> Float[Array, "*rest F"]:
    """x/2·(1 + tanh u) with u = √(2/π)·(x + 0.044715·x³): GPT-2's GELU (Hendrycks & Gimpel 2016, §2)."""
    return x * (0.5 * (1.0 + jnp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x**3)))))


def gelu(x: Float[Array, "*rest F"]) -> Float[Array, "*rest F"]:
    """x·Φ(x), Φ the standard normal CDF (Hendrycks & Gimpel 2016, §2), by erfc, which is accurate for x far below 0."""
    return x * (0.5 * jax.lax.erfc(-x * math.sqrt(0.5)))


# Keys are the values of `DecoderConfig.activation`.
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu_tanh": gelu_tanh,
    "gelu": gelu,
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}


def mlp(
    layer: MLP | JoinedMLP,
    x_BTD: Float[Array, "B T D"],
    activation: Callable[[Array], Array] = gelu_tanh,
    linear: Callable[..., Array] = linear,
) -> Float[Array, "B T D"]:
    """down(activation(up(x))), or down(activation(gate(x))·up(x)) if the MLP has a gate."""
    if isinstance(layer, JoinedMLP):
        gate_BTF, up_BTF = jnp.moveaxis(linear(layer.gate_up, x_BTD), -2, 0)
        return linear(layer.down, activation(gate_BTF) * up_BTF)
    up_BTF = linear(layer.up, x_BTD)
    hidden_BTF = activation(up_BTF) if layer.gate is None else activation(linear(layer.gate, x_BTD)) * up_BTF
    return linear(layer.down, hidden_BTF)
