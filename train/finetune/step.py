"""One step of fine-tuning as a pure function: state, frozen base and batch in; state and measurements out.

Losses, weights and gradients are summed over micro-batches and devices and divided once by the batch's weight, which is
known before the losses. The gradient is taken of the trained tree alone, so XLA computes none for a frozen base.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from llm_jax.models import decoder
from llm_jax.shapes import Array, Float, Key
from train.finetune.objectives import Batch, Objective
from train.finetune.trained import Trainable
from train.pretrain.step import Measured, TrainState, summed, updated


def init_state(
    key: Key[Array, ""], base: decoder.Decoder, trainable: Trainable, optimizer: optax.GradientTransformation
) -> TrainState:
    """The state before the first step."""
    trained = trainable.init(key, base)
    step, skipped = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)
    return TrainState(params=trained, optimizer=optimizer.init(trained), step=step, skipped=skipped, key=key)


def make_train_step(
    trainable: Trainable,
    objective: Objective,
    plan: decoder.Plan,
    optimizer: optax.GradientTransformationExtraArgs,
    micro_batches: int,
) -> Callable[..., tuple[TrainState, Measured]]:
    """The step for `jit`: (state, base in the compute format or None, batch, learning rate) → (state, measured).

    `micro_batches` must divide the rows of each of the objective's groups. Micro-batch a holds rows a, a + A, …
    of each.
    """

    def train_step(
        state: TrainState, base: decoder.Decoder | None, batch: Batch, lr: Float[Array, ""]
    ) -> tuple[TrainState, Measured]:
        batches = cut(batch, micro_batches, objective.groups)
        keys_A = jax.random.split(jax.random.fold_in(state.key, state.step), micro_batches)
        (loss, weight, further), gradients = mean_and_gradients(
            state.params, base, batches, keys_A, trainable, objective, plan
        )
        return updated(state, gradients, loss, weight, optimizer, lr, further)

    return train_step


def mean_and_gradients(
    trained: Any,
    base: decoder.Decoder | None,
    batches: Batch,
    keys_A: Key[Array, "A"],
    trainable: Trainable,
    objective: Objective,
    plan: decoder.Plan,
) -> tuple[tuple[Float[Array, ""], Float[Array, ""], dict[str, Float[Array, ""]]], Any]:
    """((mean loss, Σ weight, means of what else is measured), the mean's gradient) of micro-batches with first axis A.

    The mean is over all targets, pairs or examples: not a mean of the micro-batches' means.
    """
    weight = jax.vmap(lambda batch: objective.weight(batch, trainable.model))(batches).sum()

    def loss_of(trained, batch, key):
        params = trainable.decoder(trained, base, trainable.dropout(key))
        loss, further = objective.sums(params, head_of(trained, trainable), batch, trainable.model, plan)
        return loss / weight, further

    ready = trainable.cast(trained, plan)
    one = jax.value_and_grad(loss_of, has_aux=True)
    ((loss, further), gradients) = summed(lambda batch, key: one(ready, batch, key), (batches, keys_A))
    loss = jnp.where(weight > 0, loss, jnp.nan)
    return (loss, weight, {name: total / weight for name, total in further.items()}), gradients


def make_sums(
    trainable: Trainable, objective: Objective, plan: decoder.Plan
) -> Callable[..., tuple[Float[Array, ""], Float[Array, ""], dict[str, Float[Array, ""]]]]:
    """The evaluation for `jit`: (trained, base, batch) → (Σ weight·loss, Σ weight, further sums), nothing dropped."""

    def sums(trained: Any, base: decoder.Decoder | None, batch: Batch):
        trained = trainable.cast(trained, plan)
        params = trainable.decoder(trained, base)
        measure = objective.measured or objective.sums
        loss, further = measure(params, head_of(trained, trainable), batch, trainable.model, plan)
        return loss, objective.weight(batch, trainable.model), further

    return sums


def head_of(trained: Any, trainable: Trainable) -> Any:
    """A classifier's head; None for other models."""
    return trained["head"] if trainable.n_classes else None


def cut(batch: Batch, micro_batches: int, groups: int) -> Batch:
    """Every array with a first axis A in front: rows a, a + A, … of each group, so no device sends rows to another."""

    def one(rows: Array) -> Array:
        parts = rows.reshape(groups, -1, micro_batches, *rows.shape[1:])
        return jnp.moveaxis(parts, 2, 0).reshape(micro_batches, -1, *rows.shape[1:])

    return jax.tree.map(one, batch)
