"""One step and one loop for every model of this room: a loss (Σ weight·loss, Σ weight) → parameters."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from llm_jax.command_line import interrupts
from llm_jax.shapes import Array, Float, Key
from train.optim.config import OptimizerConfig, ScheduleConfig
from train.optim.optimizer import learning_rate, make_optimizer

Loss = Callable[[Any, Any, Key[Array, ""]], tuple[Float[Array, ""], Float[Array, ""]]]


class Measured(NamedTuple):
    """Means since the last measurement."""

    step: int
    loss: float  # nats per token, or per example
    weight: int  # tokens, or examples, that had a loss so far
    rate: float
    grad_norm: float  # before clipping


def train(
    loss: Loss,
    params: Any,
    letters: Any,
    batches: Iterator[Any],
    optimizer_config: OptimizerConfig,
    schedule: ScheduleConfig,
    steps: int,
    every: int,
    seed: int,
) -> Iterator[tuple[Any, Measured]]:
    """Yields the parameters and what was measured after every `every` steps and at the end.

    Args:
        loss: (parameters, batch, random key) → Σ weight·loss, Σ weight.
        params: initial parameters.
        letters: a tree like them of dimension letters.
        batches: without end.
        optimizer_config: its learning rate is the peak.
        schedule: of the learning rate.
        steps: how many.
        every: steps between two measurements.
        seed: of the random keys.

    Raises:
        ValueError: the loss is no longer finite.
    """
    optimizer = make_optimizer(optimizer_config, letters)
    # On a CPU, JAX's default generator takes as long as a layer.
    key = jax.random.key(seed, impl="rbg")

    @jax.jit
    def step(params: Any, moments: Any, batch: Any, rate: Array, key: Array):
        def mean(params: Any) -> tuple[Array, Array]:
            total, weight = loss(params, batch, key)
            return total / jnp.maximum(weight, 1), weight

        (value, weight), gradients = jax.value_and_grad(mean, has_aux=True)(params)
        norm = optax.tree_utils.tree_norm(gradients)
        direction, moments = optimizer.update(gradients, moments, params)
        params = jax.tree.map(lambda p, d: p - rate * d, params, direction)
        return params, moments, (value, weight, norm)

    moments, recent, weight = optimizer.init(params), [], 0
    for number in range(1, steps + 1):
        rate = learning_rate(schedule, optimizer_config.learning_rate, steps, number - 1)
        params, moments, measured = step(
            params, moments, next(batches), jnp.float32(rate), jax.random.fold_in(key, number)
        )
        recent.append(measured)
        if number % every == 0 or number == steps:
            interrupts.check()
            values_S3 = np.array([[float(x) for x in one] for one in recent])
            loss_mean, norm = float(values_S3[:, 0].mean()), float(values_S3[:, 2].mean())
            if not math.isfinite(loss_mean):
                raise ValueError(
                    f"the loss is no longer finite by step {number:,}: lower the learning rate, {rate:.2e}"
                )
            weight, recent = weight + int(values_S3[:, 1].sum()), []
            yield params, Measured(number, loss_mean, weight, rate, norm)


def average(trees: list[Any]) -> Any:
    """The mean of parameters, as Vaswani et al. 2017 (§6.1) take that of their last checkpoints."""
    return jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *trees)
