"""The Transformer's position-wise MLP: up to four times the width, GELU, down again (Vaswani et al. 2017, §3.3)."""

import jax

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
    hidden_BTF = jax.nn.gelu(linear(layer.up, x_BTD), approximate=True)
    return linear(layer.down, hidden_BTF)
