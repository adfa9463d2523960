"""One optimizer step as a pure function: state and tokens in, state and measurements out.

Micro-batches are scanned inside `jit`; weights are cast to the compute format once, outside that scan; gradients are
summed in float32. A loss or gradient that is not finite leaves parameters and optimizer as they were. Needs jax, flax
and optax only, so benchmarks can import it anywhere.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from llm_jax import sharding
from llm_jax.config import GPTConfig
from llm_jax.models import gpt
from llm_jax.shapes import Array, Float, Int, Key, pytree


@pytree
class TrainState:
    """All that a run needs to go on, apart from its place in the data, which is a function of `step`."""

    params: gpt.GPT
    optimizer: Any
    step: Int[Array, ""]  # optimizer steps taken, skipped ones included
    skipped: Int[Array, ""]  # non-finite steps in a row, up to now
    key: Key[Array, ""]  # for whatever is random in a run, folded with the step; never consumed


class Measured(NamedTuple):
    """What a step reports, float32 scalars on the device."""

    loss: Float[Array, ""]
    grad_norm: Float[Array, ""]  # before clipping
    skipped: Int[Array, ""]


def init_state(key: Key[Array, ""], config: GPTConfig, optimizer: optax.GradientTransformation) -> TrainState:
    params = gpt.init(key, config)
    moments = optimizer.init(cast(Any, params))  # optax's types know arrays and dicts, not dataclasses
    step, skipped = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)
    return TrainState(params=params, optimizer=moments, step=step, skipped=skipped, key=key)


def state_shardings(mesh: Mesh, config: GPTConfig, optimizer: optax.GradientTransformation) -> TrainState:
    """Where every leaf of the state lives: optimizer moments beside their parameters, scalars everywhere."""
    params: Any = sharding.shardings(mesh, gpt.dimension_letters(config))
    everywhere: Any = sharding.named(mesh, "")
    shapes = jax.eval_shape(partial(init_state, config=config, optimizer=optimizer), jax.random.key(0))
    # A moment is named like its parameter, behind the optimizer's own names; whatever else there is, is a scalar.
    named = {jax.tree_util.keystr(path): place for path, place in jax.tree_util.tree_leaves_with_path(params)}

    def place_of(path, _):
        return next((place for name, place in named.items() if jax.tree_util.keystr(path).endswith(name)), everywhere)

    moments = jax.tree_util.tree_map_with_path(place_of, shapes.optimizer)
    return TrainState(params=params, optimizer=moments, step=everywhere, skipped=everywhere, key=everywhere)


def make_train_step(
    config: GPTConfig,
    how: gpt.Plan,
    optimizer: optax.GradientTransformationExtraArgs,
    micro_batches: int,
) -> Callable[..., tuple[TrainState, Measured]]:
    """The step for `jit`: the global batch's rows of T+1 ids (inputs and, shifted by one, targets) in, new state out.

    The learning rate is an argument: one compiled program serves every schedule and length of run.

    `micro_batches` must divide B. Micro-batch a holds rows a, a + A, a + 2A, …: so each device cuts its own rows, and
    none are moved.
    """

    def train_step(
        state: TrainState, tokens_BT: Int[Array, "B T+1"], lr: Float[Array, ""]
    ) -> tuple[TrainState, Measured]:
        tokens_ABT = tokens_BT.reshape(-1, micro_batches, tokens_BT.shape[-1]).swapaxes(0, 1)
        loss, gradients = accumulate_gradients(state.params, tokens_ABT, config, how)
        grad_norm = optax.tree_utils.tree_norm(gradients)
        finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
        old = cast(Any, state.params)
        direction, optimizer_state = optimizer.update(gradients, state.optimizer, old, finite=finite)
        params = jax.tree.map(lambda p, d: jnp.where(finite, p - lr * d, p), old, direction)
        skipped = jnp.where(finite, 0, state.skipped + 1)
        state = TrainState(
            params=params,
            optimizer=optimizer_state,
            step=state.step + 1,
            skipped=skipped,
            key=state.key,
        )
        return state, Measured(loss=loss, grad_norm=grad_norm, skipped=skipped)

    return train_step


def accumulate_gradients(
    params: gpt.GPT, tokens_ABT: Int[Array, "A B T+1"], config: GPTConfig, how: gpt.Plan
) -> tuple[Float[Array, ""], Any]:
    """Mean loss and its gradient over all micro-batches, one micro-batch's activations in memory at a time."""

    def loss_of(cast_params, tokens_BT):
        return gpt.loss(cast_params, tokens_BT[:, :-1], tokens_BT[:, 1:], config, how)

    micro_batches = tokens_ABT.shape[0]
    cast_params = gpt.cast(params, how)
    if micro_batches == 1:
        loss, gradients = jax.value_and_grad(loss_of)(cast_params, tokens_ABT[0])
        return loss, jax.tree.map(lambda g: g.astype(jnp.float32), gradients)

    def add(total, tokens_BT):
        return jax.tree.map(jnp.add, total, jax.value_and_grad(loss_of)(cast_params, tokens_BT)), None

    start = (jnp.zeros((), jnp.float32), jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.float32), params))
    total, _ = jax.lax.scan(add, start, tokens_ABT)
    return jax.tree.map(lambda x: x / micro_batches, total)


def make_eval_step(config: GPTConfig, how: gpt.Plan) -> Callable[..., Float[Array, ""]]:
    """(params, tokens (B, T+1), weights (B,)) → weighted sum of the rows' losses, nats over all their T tokens."""

    def eval_step(params: gpt.GPT, tokens_BT: Int[Array, "B T+1"], weights_B: Float[Array, "B"]) -> Float[Array, ""]:
        length = tokens_BT.shape[1] - 1
        weights_BT = jnp.broadcast_to(weights_B[:, None], (tokens_BT.shape[0], length))
        mean = gpt.loss(gpt.cast(params, how), tokens_BT[:, :-1], tokens_BT[:, 1:], config, how, weights_BT)
        return mean * weights_BT.sum()

    return eval_step
