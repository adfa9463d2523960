"""One optimizer step as a pure function: state and tokens in, state and measurements out.

Micro-batches are scanned inside `jit`; parameters are cast to the compute format once, outside that scan; losses, their
weights and gradients are summed in float32 over micro-batches and devices. A loss or gradient that is
not finite leaves parameters and optimizer as they were; so does a batch without a target, whose loss is 0/0. Needs jax,
flax and optax only, so benchmarks can import it anywhere.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from llm_jax import sharding
from llm_jax.config import DecoderConfig
from llm_jax.layers.loss import counted
from llm_jax.models import decoder
from llm_jax.shapes import Array, Float, Int, Key, pytree


@pytree
class TrainState:
    """All that a run needs to continue. Its place in the data is a function of `step`."""

    params: decoder.Decoder
    optimizer: Any
    step: Int[Array, ""]  # optimizer steps taken, skipped ones included
    skipped: Int[Array, ""]  # non-finite steps in a row, up to now
    key: Key[Array, ""]  # for whatever is random in a run, folded with the step; never consumed


class Measured(NamedTuple):
    """What a step reports, float32 scalars on the device."""

    loss: Float[Array, ""]
    grad_norm: Float[Array, ""]  # before clipping
    skipped: Int[Array, ""]
    weight: Float[Array, ""] | None = None  # of all targets together; 0 where the batch has none
    further: dict[str, Float[Array, ""]] | None = None  # by names of `train.record.metrics`


def init_state(key: Key[Array, ""], config: DecoderConfig, optimizer: optax.GradientTransformation) -> TrainState:
    params = decoder.init(key, config)
    moments = optimizer.init(cast(Any, params))  # optax's types know arrays and dicts, not dataclasses
    step, skipped = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)
    return TrainState(params=params, optimizer=moments, step=step, skipped=skipped, key=key)


def state_shardings(mesh: Mesh, config: DecoderConfig, optimizer: optax.GradientTransformation) -> TrainState:
    """Where every leaf of the state lives: optimizer moments beside their parameters, scalars everywhere."""
    shapes = jax.eval_shape(partial(init_state, config=config, optimizer=optimizer), jax.random.key(0))
    return places_of(mesh, decoder.dimension_letters(config), shapes)


def places_of(mesh: Mesh, letters: Any, state: TrainState) -> TrainState:
    """The same for a state of any parameters, of which only the shapes are read; `letters`: a tree like them."""
    params: Any = sharding.shardings(mesh, letters)
    everywhere: Any = sharding.named(mesh, "")
    # A moment is named like its parameter, behind the optimizer's own names; whatever else there is, is a scalar.
    named = {jax.tree_util.keystr(path): place for path, place in jax.tree_util.tree_leaves_with_path(params)}

    def place_of(path, _):
        return next((place for name, place in named.items() if jax.tree_util.keystr(path).endswith(name)), everywhere)

    moments = jax.tree_util.tree_map_with_path(place_of, state.optimizer)
    return TrainState(params=params, optimizer=moments, step=everywhere, skipped=everywhere, key=everywhere)


def make_train_step(
    config: DecoderConfig,
    plan: decoder.Plan,
    optimizer: optax.GradientTransformationExtraArgs,
    micro_batches: int,
) -> Callable[..., tuple[TrainState, Measured]]:
    """The step for `jit`: the global batch's rows of T+1 ids (inputs and, shifted by one, targets) in, new state out.

    The learning rate is an argument: one compiled program serves every schedule and length of run. So are the targets'
    weights, where there are any (each is 1 without): rows of T numbers.

    `micro_batches` must divide B. Micro-batch a holds rows a, a + A, a + 2A, …, so every device has rows of each
    micro-batch and XLA moves none between devices.
    """

    def train_step(
        state: TrainState,
        tokens_BT: Int[Array, "B T+1"],
        lr: Float[Array, ""],
        weights_BT: Float[Array, "B T"] | None = None,
    ) -> tuple[TrainState, Measured]:
        def cut(rows: Array) -> Array:
            return rows.reshape(-1, micro_batches, rows.shape[-1]).swapaxes(0, 1)

        weights_ABT = None if weights_BT is None else cut(weights_BT)
        (loss, weight), gradients = accumulate_gradients(state.params, cut(tokens_BT), config, plan, weights_ABT)
        return updated(state, gradients, loss, weight, optimizer, lr)

    return train_step


def updated(
    state: TrainState,
    gradients: Any,
    loss: Float[Array, ""],
    weight: Float[Array, ""],
    optimizer: optax.GradientTransformationExtraArgs,
    lr: Float[Array, ""],
    further: dict[str, Float[Array, ""]] | None = None,
) -> tuple[TrainState, Measured]:
    """The state after an optimizer step; parameters and moments as they were, where loss or gradient is not finite."""
    grad_norm = optax.tree_utils.tree_norm(gradients)
    finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
    old = cast(Any, state.params)
    direction, optimizer_state = optimizer.update(gradients, state.optimizer, old, finite=finite)
    params = jax.tree.map(lambda p, d: jnp.where(finite, p - lr * d, p), old, direction)
    skipped = jnp.where(finite, 0, state.skipped + 1)
    state = TrainState(params=params, optimizer=optimizer_state, step=state.step + 1, skipped=skipped, key=state.key)
    return state, Measured(loss=loss, grad_norm=grad_norm, skipped=skipped, weight=weight, further=further)


def accumulate_gradients(
    params: decoder.Decoder,
    tokens_ABT: Int[Array, "A B T+1"],
    config: DecoderConfig,
    plan: decoder.Plan,
    weights_ABT: Float[Array, "A B T"] | None = None,
) -> tuple[tuple[Float[Array, ""], Float[Array, ""]], Any]:
    """(mean loss, Σ weight) and the mean's gradient, one micro-batch's activations in memory at a time.

    The mean is over all targets of all micro-batches, by their weights: not a mean of the micro-batches' means, which
    would count the tokens of one with few targets more than those of another. The weights are known before the losses,
    so the weights are divided by their sum. Losses and gradients then add up to the mean, and no extra pass over the
    gradients has to divide them.
    """
    targets_ABT = tokens_ABT[..., 1:]
    given = jnp.ones(targets_ABT.shape, jnp.float32) if weights_ABT is None else weights_ABT
    _, weights_ABT = counted(targets_ABT, given, config.vocab_size)
    weight = weights_ABT.sum()
    shares_ABT = weights_ABT / weight

    def loss_of(cast_params, tokens_BT, shares_BT):
        return decoder.loss(cast_params, tokens_BT[:, :-1], tokens_BT[:, 1:], config, plan, shares_BT)[0]

    value_and_grad, cast_params = jax.value_and_grad(loss_of), decoder.cast(params, config, plan)
    loss, gradients = summed(
        lambda tokens_BT, shares_BT: value_and_grad(cast_params, tokens_BT, shares_BT), (tokens_ABT, shares_ABT)
    )
    return (jnp.where(weight > 0, loss, jnp.nan), weight), gradients


def summed(part: Callable[..., Any], micro_batches: tuple[Any, ...]) -> Any:
    """Σ of `part` over micro-batches, in float32: arrays whose first axis is A. One micro-batch is computed at a time.

    `part` returns a tree of sums, such as a loss and its gradients.
    """

    def in_float32(tree):
        return jax.tree.map(lambda x: x.astype(jnp.float32), tree)

    leaves = jax.tree.leaves(micro_batches)
    first = jax.tree.map(lambda x: x[0], micro_batches)
    if leaves[0].shape[0] == 1:
        return in_float32(part(*first))
    start = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), jax.eval_shape(part, *first))
    total, _ = jax.lax.scan(lambda total, one: (jax.tree.map(jnp.add, total, part(*one)), None), start, micro_batches)
    return total


def make_eval_step(
    config: DecoderConfig, plan: decoder.Plan
) -> Callable[..., tuple[Float[Array, ""], Float[Array, ""]]]:
    """(params, tokens (B, T+1), weights (B,)) → Σ weight·loss in nats over the rows' tokens, and Σ weight."""

    def eval_step(
        params: decoder.Decoder, tokens_BT: Int[Array, "B T+1"], weights_B: Float[Array, "B"]
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        inputs_BT, targets_BT = tokens_BT[:, :-1], tokens_BT[:, 1:]
        weights_BT = jnp.broadcast_to(weights_B[:, None], targets_BT.shape)
        return decoder.loss(decoder.cast(params, config, plan), inputs_BT, targets_BT, config, plan, weights_BT)

    return eval_step
