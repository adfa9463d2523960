"""A recurrent state instead of a window: the simple recurrent network (Elman 1990) and the GRU (Cho et al. 2014).

Both read a line character by character and keep a state of D numbers; a linear layer maps the state to the logits of
the next character. With x the character's embedding and h the state:

    rnn   h ← tanh(x·W + h·U + b)

    gru   r = σ(x·Wr + h·Ur + br)        reset: how much of the state the candidate uses
          z = σ(x·Wz + h·Uz + bz)        update: how much of the state is kept
          n = tanh(x·Wn + (r∘h)·Un + bn)
          h ← z∘h + (1 − z)∘n

Where z is near 1, the GRU keeps a number unchanged over many characters, and its gradient does not vanish on the way
back. The products x·W do not depend on the state and are computed for all characters at once.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from llm_jax.kernels.linear import linear_on_cpu as linear  # models this small are trained on CPUs
from llm_jax.layers.linear import Linear, init_linear
from llm_jax.models.makemore.letters import letters
from llm_jax.models.makemore.mlp import LAST_LAYER_GAIN
from llm_jax.models.watch import Watch, unwatched
from llm_jax.shapes import Array, Float, Int, Key, pytree


@dataclass(frozen=True)
class Config:
    vocab_size: int
    """Characters, the line's end among them."""
    embedding: int = 32
    """Width of a character's embedding."""
    width: int = 128
    """Numbers in the state."""
    gated: bool = False
    """Use the GRU instead of the simple unit."""


@pytree
class Recurrent:
    """The GRU, or the simple unit where `gates` is None."""

    embedding: Float[Array, "V E"]
    start: Float[Array, "D"]  # the state before the first character
    inputs: Linear  # E → (1, D), or E → (3, D): r, z, n
    gates: Float[Array, "F 2 D"] | None  # state → r and z
    candidate: Float[Array, "F D"]  # state → n, or the simple unit's next state
    out: Linear  # D → V


def init(key: Key[Array, ""], config: Config) -> Recurrent:
    embedding_key, inputs_key, gates_key, candidate_key, out_key = jax.random.split(key, 5)
    width, orthogonal = config.width, jax.nn.initializers.orthogonal()
    kinds = 3 if config.gated else 1
    gates = jnp.stack([orthogonal(k, (width, width)) for k in jax.random.split(gates_key)], axis=1)
    return Recurrent(
        embedding=jax.random.normal(embedding_key, (config.vocab_size, config.embedding)),
        start=jnp.zeros(width),
        inputs=init_linear(inputs_key, (config.embedding,), (kinds, width), 1 / math.sqrt(config.embedding)),
        gates=gates if config.gated else None,
        # Orthogonal: multiplying by it keeps the norm of the state, however many characters follow.
        candidate=orthogonal(candidate_key, (width, width)),
        out=init_linear(out_key, (width,), (config.vocab_size,), LAST_LAYER_GAIN / math.sqrt(width)),
    )


def dimension_letters(params: Recurrent) -> Recurrent:
    vector, table, inputs, kinds, gates, square, out, bias = letters("D VE E3D 3D F2D FD DV V")
    return Recurrent(
        embedding=table,
        start=vector,
        inputs=Linear(weight=inputs, bias=kinds),
        gates=None if params.gates is None else gates,
        candidate=square,
        out=Linear(weight=out, bias=bias),
    )


def logits(params: Recurrent, tokens_BT: Int[Array, "B T"], watch: Watch = unwatched) -> Float[Array, "B T V"]:
    """Logits of the character after each position, from that position and all before it."""
    x_BTKD = linear(params.inputs, params.embedding[tokens_BT])

    def step(h_BD: Array, x_BKD: Array) -> tuple[Array, Array]:
        h_BD = next_state(params, h_BD, x_BKD)
        return h_BD, h_BD

    start_BD = jnp.broadcast_to(params.start, (len(tokens_BT), len(params.start)))
    _, states_TBD = jax.lax.scan(step, start_BD, jnp.moveaxis(x_BTKD, 1, 0))
    return linear(params.out, watch("state", jnp.moveaxis(states_TBD, 0, 1)))


def next_state(params: Recurrent, h_BD: Float[Array, "B D"], x_BKD: Float[Array, "B K D"]) -> Float[Array, "B D"]:
    """The formulas above. `x_BKD` is x·W + b, with K = 1 (simple) or K = 3 (r, z, n)."""
    if params.gates is None:
        return jnp.tanh(x_BKD[:, 0] + h_BD @ params.candidate)
    gates_B2D = jax.nn.sigmoid(x_BKD[:, :2] + jnp.einsum("BF,FGD->BGD", h_BD, params.gates))
    reset_BD, keep_BD = gates_B2D[:, 0], gates_B2D[:, 1]
    candidate_BD = jnp.tanh(x_BKD[:, 2] + (reset_BD * h_BD) @ params.candidate)
    return keep_BD * h_BD + (1 - keep_BD) * candidate_BD
