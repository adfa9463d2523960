"""The order of events in a run: step, evaluate, record, save, sample, and stop when asked.

The step itself is a pure function (`step`). This module decides when each event happens and does not depend on the
command line. The device works one step ahead: while it computes step s, the numbers of step s − 1 are recorded.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from llm_jax.checkpoint import Checkpoints
from llm_jax.runs import LOSS_PLOT
from train.cluster.signals import StopRequest
from train.data.loader import ahead
from train.optim.config import OptimizerConfig, ScheduleConfig
from train.optim.optimizer import learning_rate
from train.pretrain.config import Cadence, TrainConfig
from train.pretrain.measure.hellaswag import HellaSwag
from train.pretrain.step import Measured, TrainState
from train.record import plots
from train.record.clock import Clock
from train.record.metrics import Metrics, plain, read
from train.record.progress import StepProgress


class RunConfig(Protocol):
    """What the loop reads of a run's config."""

    @property
    def steps(self) -> int: ...
    @property
    def schedule(self) -> ScheduleConfig: ...
    @property
    def optimizer(self) -> OptimizerConfig: ...
    @property
    def cadence(self) -> Cadence: ...
    @property
    def batch_size(self) -> int: ...


class Evaluation(Protocol):
    """What is measured of a run's parameters."""

    def metrics(self) -> dict[str, float]: ...


class NotFiniteError(ArithmeticError):
    """Too many steps in a row had a loss or gradient that is not finite."""


@dataclass
class Run:
    """Everything the loop needs, built by `build`. The clock, the tokens seen and the record are its only state."""

    config: RunConfig
    folder: Path
    train_step: Callable[..., tuple[TrainState, Measured]]
    load_batch: Callable[[int], Any]
    evaluate: Callable[[Any, Callable[[], bool]], Evaluation | None]
    sample: Callable[[Any, int, Callable[[], bool]], bool]
    checkpoints: Checkpoints
    metadata: dict[str, Any]  # goes into every checkpoint, with the clock
    metrics: Metrics | None  # only on the first process
    progress: StepProgress
    stop: StopRequest
    hellaswag: HellaSwag | None = None
    reference: Path | None = None
    flops_per_token: float | None = None  # of training, where it is the same for every token
    peak_flops: float | None = None
    tokens_of: Callable[[int], int] | None = None  # of a step, counted from 0; None: always the config's batch
    unit: str = "nats per token"  # of the loss
    draw_more: Callable[[Path, list[dict[str, Any]]], None] | None = None  # pictures beside that of the loss
    clock: Clock = field(default_factory=Clock)
    tokens: int = 0  # since the run began, whatever its batch was
    unfinished: dict[str, Any] | None = None  # numbers of the first step, whose evaluation a stop request prevented


def train(run: Run, state: TrainState) -> tuple[TrainState, bool]:
    """Runs to the last step, or until asked to stop; returns the state and whether the run is complete.

    The last state is saved either way. Raises NotFiniteError after `max_skipped` skipped steps in a row (0: never).
    """
    total, start = run.config.steps, int(state.step)
    batches = ahead(run.load_batch, start, total)
    pending: tuple[int, Measured, float] | None = None
    run.clock.restart()
    try:
        if run.unfinished and not _do_what_is_due(run, start, state, run.unfinished, run.stop.agreed()):
            return state, False
        for step, batch in enumerate(batches, start + 1):
            lr = learning_rate(run.config.schedule, run.config.optimizer.learning_rate, total, step - 1)
            state, measured = run.train_step(state, batch, np.float32(lr))
            if pending:
                _write(run, _measure(run, *pending))
            pending = (step, measured, lr)
            asked = run.stop.agreed()
            if asked or _is_due(run.config, step):
                values = _measure(run, *pending)
                pending = None
                if not _do_what_is_due(run, step, state, values, asked):
                    return state, False
    finally:
        batches.close()
        run.checkpoints.wait()
    return state, True


def _is_due(config: RunConfig, step: int) -> bool:
    cadence = config.cadence
    return any(_falls_on(config, step, n) for n in (cadence.eval_every, cadence.sample_every, cadence.checkpoint_every))


def _falls_on(config: RunConfig, step: int, every: int) -> bool:
    return step == config.steps or bool(every and step % every == 0)


def _do_what_is_due(run: Run, step: int, state: TrainState, values: dict[str, Any], asked: bool) -> bool:
    """Evaluates, records, saves and samples: whatever is due at `step`. Returns False after a stop request.

    If a stop request prevents an evaluation or a sample, the checkpoint notes it, and the resumed run does it first.
    Samples come last, so that a failure in sampling cannot prevent a checkpoint.
    """
    evaluates = _falls_on(run.config, step, run.config.cadence.eval_every)
    samples = _falls_on(run.config, step, run.config.cadence.sample_every)
    bare = dict(values)
    is_prevented = asked and (evaluates or samples)
    if evaluates and not asked:
        measured = _evaluate(run, state)
        if measured is None:
            asked = is_prevented = True
        else:
            values |= measured
    _write(run, values)
    _save(run, step, state, values, asked, unfinished=bare if is_prevented else None)
    if samples and not asked and not run.sample(state.params, step, run.stop.agreed):
        asked = True
        _save(run, step, state, values, asked, unfinished=None)
    if run.metrics and "val_loss" in values:
        draw(run)
    run.clock.lap()
    return not asked


def _evaluate(run: Run, state: TrainState) -> dict[str, float] | None:
    """Validation loss and, where the run has the items, HellaSwag; None when asked to stop on the way."""
    validation = run.evaluate(state.params, run.stop.agreed)
    if validation is None:
        return None
    accuracies = run.hellaswag(state.params, run.stop.agreed) if run.hellaswag else {}
    return None if accuracies is None else validation.metrics() | accuracies


def _measure(run: Run, step: int, measured: Measured, lr: float) -> dict[str, Any]:
    """One step's numbers as a line of metrics; waits until the device has finished that step."""
    loss, grad_norm = float(measured.loss), float(measured.grad_norm)
    elapsed = run.clock.lap()
    tokens = _tokens_of(run, step - 1)
    run.tokens += tokens
    speed = tokens / elapsed
    where = f"sequences {(step - 1) * run.config.batch_size} to {step * run.config.batch_size - 1} of the run's order"
    if measured.weight is not None and float(measured.weight) == 0:
        raise ValueError(
            f"step {step}: the batch has no target: every token after the first of {where} is left out, for its weight "
            "is 0 or it is no id of the model's vocabulary: look at the data there. Parameters are as they were before"
        )
    most = run.config.cadence.max_skipped
    if most and int(measured.skipped) >= most:
        raise NotFiniteError(
            f"step {step}: loss {loss}, gradient norm {grad_norm}; {int(measured.skipped)} steps in a row were not "
            f"finite. Parameters are as they were before the first of them. The batch holds {where}: look at the data "
            "there, or lower --learning-rate, lengthen --warmup-steps, or set --clip-norm"
        )
    mfu = run.flops_per_token * speed / run.peak_flops if run.flops_per_token and run.peak_flops else None
    return {
        "step": step,
        "tokens": run.tokens,
        "seconds": round(run.clock.seconds, 3),
        "train_loss": loss,
        "lr": lr,
        "grad_norm": grad_norm,
        "tokens_per_second": round(speed, 1),
        "mfu": mfu,
        **{name: float(value) for name, value in (measured.further or {}).items()},
    }


def _tokens_of(run: Run, step: int) -> int:
    if run.tokens_of:
        return run.tokens_of(step)
    assert isinstance(run.config, TrainConfig)
    return run.config.batch_tokens


def _write(run: Run, values: dict[str, Any]) -> None:
    if run.metrics:
        run.metrics.write(values)
    run.progress.update(values)


def _save(
    run: Run, step: int, state: TrainState, values: dict[str, Any], asked: bool, unfinished: dict[str, Any] | None
) -> None:
    """The metrics first, then the checkpoint: what a checkpoint says has happened is on record."""
    if asked or _falls_on(run.config, step, run.config.cadence.checkpoint_every):
        if run.metrics:
            run.metrics.flush()
        metadata = {
            **run.metadata,
            "seconds": values["seconds"],
            "tokens": values["tokens"],
            "unfinished": plain(unfinished) if unfinished else None,
        }
        leaves = asked or step == run.config.steps
        run.checkpoints.save(step, state, metadata, values.get("val_loss"), wait=leaves)


def draw(run: Run) -> None:
    """Draws loss.png from what is on record, and what else the run has drawn."""
    assert run.metrics
    run.metrics.flush()
    reference, lines = (run.reference, _tokens_of(run, 0)) if run.reference else None, list(read(run.folder))
    plots.draw_loss(run.folder / LOSS_PLOT, lines, run.folder.name, reference, unit=run.unit)
    if run.draw_more:
        run.draw_more(run.folder, lines)
