"""The pooled head: one class for a whole text (Devlin et al. 2019, §4.1).

    pooled = tanh(W·h₀ + b), h₀ the state of the first token;   logits = C·pooled + c

BERT's h₀ has been trained by a next-sentence task. Without one, the mean of the tokens' states is the better vector to
begin with; `pooling` chooses.
"""

import jax
import jax.numpy as jnp

from llm_jax.kernels.plan import Plan
from llm_jax.layers.dropout import Dropout, dropout
from llm_jax.layers.linear import Linear, init_linear
from llm_jax.models.encoder.pooling import POOLINGS
from llm_jax.shapes import Array, Bool, Float, Key, pytree


@pytree
class PooledHead:
    dense: Linear  # D → D
    out: Linear  # D → classes


def init_head(key: Key[Array, ""], width: int, n_classes: int) -> PooledHead:
    dense, out = jax.random.split(key)
    return PooledHead(
        dense=init_linear(dense, (width,), (width,), 0.02), out=init_linear(out, (width,), (n_classes,), 0.02)
    )


def class_logits(
    head: PooledHead,
    hidden_BTD: Float[Array, "B T D"],
    is_token_BT: Bool[Array, "B T"],
    plan: Plan,
    pooling: str = "cls",
    noise: Dropout | None = None,
) -> Float[Array, "B classes"]:
    """The logits of each text's class. Dropout stands before the last layer, as in BERT."""
    pooled_BD = jnp.tanh(plan.kernels.linear(head.dense, POOLINGS[pooling](hidden_BTD, is_token_BT)))
    return plan.kernels.linear(head.out, dropout(pooled_BD, noise))
