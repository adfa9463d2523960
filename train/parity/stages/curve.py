"""Section 5: the losses of N training steps on the same tokens with the same learning rates.

Training amplifies rounding errors, faster at a higher learning rate, so the arithmetic of one step gives no bound. The
comparison asks instead whether our run departs from float64 as fast as another run with the same rounding errors. The
yardstick at a step is the largest distance between that other run and float64 up to this step, and at least the error
that rounding causes in one loss.

In float32 the other run is PyTorch's own. In bfloat16 it is float64 with simulated bfloat16 errors. PyTorch's mixed
precision cannot serve: it keeps the residual stream in float32 where we keep it in bfloat16, so it rounds less.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from train.optim.config import OptimizerConfig, ScheduleConfig
from train.optim.optimizer import learning_rate
from train.parity.compare import autocast
from train.parity.rounding import FLOAT32, FORMATS, Float64, Format, Rounding
from train.parity.stages.models_compared import ModelsCompared, Ours
from train.parity.stages.step import Training, clip, their_optimizer
from train.parity.stages.stream import Stream
from train.parity.verdict import Error, Row, fingerprint, judge

SECTION = "loss curve"
WARMUP = 0.1  # of the steps


@dataclass(frozen=True)
class LossCurves:
    """Losses of every step, each computed before its update."""

    learning_rates: list[float]
    ours: np.ndarray
    theirs: np.ndarray
    reference: np.ndarray  # PyTorch in float64
    yardstick: np.ndarray


def train_both(
    models: ModelsCompared,
    training: Training,
    stream: Stream,
    steps: int,
    config: OptimizerConfig,
    loss_noise: float,
    their_loss: Callable[[Any, Any], torch.Tensor],
) -> LossCurves:
    """Trains a copy of each model.

    Args:
        models: both models.
        training: our compiled step.
        stream: step → batch.
        steps: how many.
        config: AdamW's settings; its learning rate is the peak.
        loss_noise: error that rounding causes in one loss, without training.
        their_loss: (PyTorch's model, batch) → mean loss.
    """
    schedule, peak = ScheduleConfig(schedule="cosine", warmup_steps=round(WARMUP * steps)), config.learning_rate
    rates = [learning_rate(schedule, peak, steps, step) for step in range(steps)]
    format = FORMATS[str(models.ours.plan.dtype)]
    ours = np.array(list(_our_losses(models.ours, training, stream, rates)))
    theirs = np.array(list(_their_losses(copy.deepcopy(models.theirs), their_loss, stream, rates, config, format)))
    with Float64():
        double = copy.deepcopy(models.theirs).double()
        reference = np.array(list(_their_losses(double, their_loss, stream, rates, config, FLOAT32)))
    other = theirs
    if format is not FLOAT32:
        double = copy.deepcopy(models.theirs).double()
        with Rounding(format, seed=0):
            other = np.array(list(_their_losses(double, their_loss, stream, rates, config, FLOAT32)))
    yardstick = np.maximum(np.maximum.accumulate(np.abs(other - reference)), loss_noise)
    return LossCurves(rates, ours, theirs, reference, yardstick)


def curve_row(curve: LossCurves) -> Row:
    """The curve as one row, with the largest value over all steps in each column."""

    def error(losses: np.ndarray) -> Error:
        apart = np.abs(losses - curve.reference)
        return Error(float(np.linalg.norm(apart)), None, float(np.max(apart / curve.yardstick)))

    errors = error(curve.ours), error(curve.theirs)
    apart = np.abs(curve.ours - curve.theirs)
    relative = apart / np.abs(curve.reference)
    theirs_relative = float(np.max(np.abs(curve.theirs - curve.reference) / np.abs(curve.reference)))
    verdict = judge(errors[0])
    return Row(
        section=SECTION,
        name=f"loss of each of {len(curve.ours)} steps",
        size=len(curve.ours),
        largest_absolute=float(apart.max()),
        largest_relative=float(relative.max()),
        relative_norm=float(np.linalg.norm(apart) / np.linalg.norm(curve.reference)),
        reference_norm=float(np.linalg.norm(curve.reference)),
        yardstick=float(curve.yardstick[-1]),
        ours=errors[0],
        theirs=errors[1],
        verdict="equal" if verdict == "rounding" and not apart.any() else verdict,
        fingerprint=fingerprint(curve.ours),
        note=f"largest difference at step {int(relative.argmax()) + 1}; PyTorch is {theirs_relative:.1e} from its "
        f"float64; loss {curve.ours[0]:.3f} → {curve.ours[-1]:.3f}",
    )


def _our_losses(ours: Ours, training: Training, stream: Stream, rates: list[float]) -> Iterator[float]:
    state = training.start(ours.params)
    for step, rate in enumerate(rates):
        state, measured = training.step(state, jax.tree.map(jnp.asarray, stream(step)), jnp.float32(rate))
        yield float(measured.loss)


def _their_losses(
    model: torch.nn.Module,
    their_loss: Callable[[Any, Any], torch.Tensor],
    stream: Stream,
    rates: list[float],
    config: OptimizerConfig,
    format: Format,
) -> Iterator[float]:
    optimizer = their_optimizer(model, config)
    for step, rate in enumerate(rates):
        for group in optimizer.param_groups:
            group["lr"] = rate
        with autocast(model, format):
            loss = their_loss(model, stream(step))
        optimizer.zero_grad()
        loss.backward()
        clip(model, config.clip_norm)
        optimizer.step()
        yield float(loss.detach())
