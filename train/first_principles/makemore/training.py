"""Many steps per call of the device: a step takes a fraction of a millisecond, less than the call itself.

A chunk of steps is one `lax.scan`; the training examples are on the device, and a step gets the numbers of its rows.
The host then checks the losses of the chunk step by step, so the step at which training diverged is known exactly.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from llm_jax.layers.dropout import Dropout
from llm_jax.layers.loss import log_probability
from llm_jax.models.watch import Watch, unwatched
from llm_jax.shapes import Array, Float
from train.first_principles.makemore.dataset.examples import Examples
from train.first_principles.makemore.models import Model
from train.optim.config import OptimizerConfig, ScheduleConfig
from train.optim.optimizer import learning_rate, make_optimizer

EVALUATION_ROWS = 4096  # examples at once
CALIBRATION_ROWS = 32_768  # examples whose moments batch norm keeps: their standard error is half a percent
BEYOND = 4.0  # times the worse of the first loss and ln V: from there no run comes back to anything useful


@dataclass(frozen=True)
class Recipe:
    """How a model is trained."""

    steps: int
    batch_size: int  # windows, or lines
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    seed: int = 42
    dropout: float = 0.0

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        return learning_rate(self.schedule, self.optimizer.learning_rate, self.steps, step)


class StepMetrics(NamedTuple):
    """A chunk of S steps, as NumPy arrays."""

    loss_S: Any
    grad_norm_S: Any  # before clipping
    update_ratios: dict[str, Any]  # by parameter: std of the update over std of the values, [S]


class State(NamedTuple):
    params: Any
    moments: Any


class Diverged(RuntimeError):
    """The loss left all bounds; the message says at which step."""


def batch_loss(
    model: Model, params: Any, batch: Examples, watch: Watch = unwatched, noise: Dropout | None = None
) -> Float[Array, ""]:
    """Mean cross-entropy in nats over the batch's predictions; with dropout, not watched."""
    inputs = jnp.asarray(batch.inputs)
    if noise is not None and model.noisy_logits is not None:
        logits = model.noisy_logits(params, inputs, noise)
    else:
        logits = model.logits(params, inputs, watch)
    losses = -log_probability(logits, jnp.asarray(batch.targets))
    return (losses * batch.weights).sum() / batch.weights.sum()


def train(
    model: Model, recipe: Recipe, params: Any, examples: Examples, chunk: int, gradients: Callable | None = None
) -> Iterator[tuple[int, Any, StepMetrics]]:
    """Yields (steps done, parameters, what was measured) after every `chunk` steps and at the end.

    `gradients(params, batch) → (loss, gradients)` on the host takes the place of JAX's own. Raises Diverged.
    """
    optimizer = make_optimizer(recipe.optimizer, model.letters(params))
    if gradients is None:
        run_chunk = _on_device(model, optimizer, examples, recipe)
    else:
        run_chunk = _by_host(gradients, optimizer, examples)
    state = State(params, optimizer.init(params))
    rows = _row_order(len(examples.inputs), recipe)
    bound = None
    for start in range(0, recipe.steps, chunk):
        steps = range(start, min(start + chunk, recipe.steps))
        rates = [recipe.rate(step) for step in steps]
        rows_SB = np.stack([next(rows) for _ in steps])
        state, measured = run_chunk(state, np.array(steps), rows_SB, np.array(rates, np.float32))
        bound = bound or BEYOND * max(float(measured.loss_S[0]), math.log(model.config.vocab_size))
        _refuse_divergence(measured.loss_S, rates, start, bound)
        yield steps[-1] + 1, state.params, measured


def evaluate(model: Model, params: Any, examples: Examples) -> float:
    """Mean loss in nats over all predictions; `params` are calibrated."""
    total, losses_of = 0.0, _losses_of(model)
    for start in range(0, len(examples.inputs), EVALUATION_ROWS):
        part = Examples(*(array[start : start + EVALUATION_ROWS] for array in examples))
        total += float((np.asarray(losses_of(params, part.inputs, part.targets), np.float64) * part.weights).sum())
    return total / examples.weights.sum(dtype=np.float64)


def calibrated(model: Model, params: Any, examples: Examples) -> Any:
    """Parameters whose batch norms, if there are any, use the moments of many training examples."""
    rows = np.random.default_rng(0).permutation(len(examples.inputs))[:CALIBRATION_ROWS]
    return model.calibrate(params, jnp.asarray(examples.inputs[rows]))


@lru_cache(maxsize=8)  # one compiled program a model, however often it is measured
def _losses_of(model: Model):
    return jax.jit(lambda params, inputs, targets: -log_probability(model.logits(params, inputs, unwatched), targets))


def _row_order(count: int, recipe: Recipe) -> Iterator[np.ndarray]:
    """Batches of row numbers, B each: every row once in an order, then every row once in another one."""
    rng, left = np.random.default_rng(recipe.seed), np.empty(0, np.int64)
    while True:
        while len(left) < recipe.batch_size:
            left = np.concatenate([left, rng.permutation(count)])
        yield left[: recipe.batch_size].astype(np.int32)
        left = left[recipe.batch_size :]


def _apply(optimizer: optax.GradientTransformation, state: State, gradients: Any, lr: Any):
    """One step of the optimizer; beside the new state, the sizes of its updates relative to the parameters."""
    direction, moments = optimizer.update(gradients, state.moments, state.params)
    updates = jax.tree.map(lambda d: lr * d, direction)
    named = zip(jax.tree.leaves_with_path(updates), jax.tree.leaves(state.params), strict=True)
    ratios = {
        jax.tree_util.keystr(path, simple=True, separator="."): update.std() / (old.std() + 1e-12)
        for (path, update), old in named
        if old.ndim > 1
    }
    return State(jax.tree.map(jnp.subtract, state.params, updates), moments), ratios


def _on_device(model: Model, optimizer: optax.GradientTransformation, examples: Examples, recipe: Recipe):
    data = jax.tree.map(jnp.asarray, examples)
    key = jax.random.key(recipe.seed, impl="rbg")  # on a CPU, JAX's default generator takes as long as a layer

    def step(data: Examples, state: State, order: tuple[Array, Array, Array]):
        number, rows_B, lr = order
        batch = jax.tree.map(lambda array: array[rows_B], data)
        noise = Dropout(jax.random.fold_in(key, number), recipe.dropout) if recipe.dropout else None
        loss, gradients = jax.value_and_grad(partial(batch_loss, model, noise=noise))(state.params, batch)
        state, ratios = _apply(optimizer, state, gradients, lr)
        return state, StepMetrics(loss, optax.tree_utils.tree_norm(gradients), ratios)

    scan = jax.jit(lambda data, state, *order: jax.lax.scan(partial(step, data), state, order))

    def run_chunk(
        state: State, steps_S: np.ndarray, rows_SB: np.ndarray, lr_S: np.ndarray
    ) -> tuple[State, StepMetrics]:
        state, measured = scan(data, state, steps_S, rows_SB, lr_S)
        return state, jax.tree.map(np.asarray, measured)

    return run_chunk


def _by_host(gradients: Callable, optimizer: optax.GradientTransformation, examples: Examples):
    """Gradients from NumPy, the same optimizer."""
    apply = jax.jit(partial(_apply, optimizer))

    def run_chunk(state: State, _: np.ndarray, rows_SB: np.ndarray, lr_S: np.ndarray) -> tuple[State, StepMetrics]:
        losses, norms, ratios = [], [], []
        for rows_B, lr in zip(rows_SB, lr_S, strict=True):
            loss, gradient = gradients(state.params, Examples(*(array[rows_B] for array in examples)))
            state, ratio = apply(state, gradient, lr)
            losses.append(loss)
            norms.append(math.sqrt(sum(float((g * g).sum()) for g in jax.tree.leaves(gradient))))
            ratios.append(ratio)
        stacked = jax.tree.map(lambda *values: np.array(values), *ratios)
        return state, StepMetrics(np.array(losses), np.array(norms), stacked)

    return run_chunk


def _refuse_divergence(loss_S: np.ndarray, rates: list[float], start: int, bound: float) -> None:
    beyond = np.flatnonzero(~(loss_S < bound))  # also where it is not a number
    if len(beyond):
        step = int(beyond[0])
        raise Diverged(
            f"step {start + step + 1}: the loss is {loss_S[step]:.4g}, more than {bound:.4g} ({BEYOND:g} times what it "
            f"was at the start or guessing gives): training diverges at a learning rate of {rates[step]:.3g}: lower "
            "--learning-rate"
        )
