"""At whatever instant the loop is asked to stop, it saves, and the resumed run's record is that of one never asked.

The loop is real, with real metrics and checkpoints; its step, evaluation and samples are stand-ins that take no time.
"""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.checkpoint import Checkpoints
from train.pretrain import loop
from train.pretrain.config import CadenceConfig, TrainConfig
from train.pretrain.measure.evaluate import Validation
from train.pretrain.resume import begin_or_resume
from train.pretrain.step import Measured, TrainState
from train.record import metrics
from train.record.clock import Clock
from train.record.metrics import Metrics, read
from train.record.progress import describe

CONFIG = TrainConfig(steps=6, cadence=CadenceConfig(eval_every=2, sample_every=3, checkpoint_every=4))
POLLS = 14  # of an undisturbed run: one a step, two an evaluation, one a sample


class StopAtPoll:
    """Asks to stop from the n-th poll on."""

    def __init__(self, poll: float) -> None:
        self.polls_left = poll

    def agreed(self) -> bool:
        self.polls_left -= 1
        return self.polls_left < 0


def fresh_state(key: jax.Array) -> TrainState:
    return TrainState(params=jnp.zeros(2), optimizer=(), step=jnp.int32(0), skipped=jnp.int32(0), key=key)


def step(state: TrainState, batch: jax.Array, lr: np.float32) -> tuple[TrainState, Measured]:
    after = state.replace(params=state.params + batch, step=state.step + 1)
    return after, Measured(loss=after.params.sum(), grad_norm=jnp.float32(lr), skipped=jnp.int32(0))


def evaluate(params: jax.Array, should_stop) -> Validation | None:
    if should_stop() or should_stop():  # two batches
        return None
    return Validation(float(params.sum()) / 2, None)


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Runs the loop once, as a job does; returns the steps sampled and whether the run is complete."""
    monkeypatch.setattr(metrics, "_open_board", lambda *_: None)
    monkeypatch.setattr(loop, "draw", lambda run: None)
    job = SimpleNamespace(is_first=True, layout={})

    def run_once(name: str, stop: StopAtPoll) -> tuple[list[int], bool]:
        folder, sampled = tmp_path / name, []
        checkpoints = Checkpoints(folder / "checkpoints")
        begun = begin_or_resume(True, checkpoints, fresh_state, 0, job)

        def sample(params, at, should_stop) -> bool:
            sampled.append(at)
            return not should_stop()

        with Metrics(folder, begun.steps_on_record) as record:
            run = loop.Run(
                config=CONFIG,
                folder=folder,
                train_step=step,
                load_batch=lambda index: jnp.full(2, index + 1.0),
                evaluate=evaluate,
                sample=sample,
                checkpoints=checkpoints,
                metadata={"layout": {}},
                metrics=record,
                progress=SimpleNamespace(update=describe),
                stop=stop,
                clock=Clock(begun.seconds),
                tokens=begun.tokens,
                unfinished=begun.unfinished,
            )
            _, complete = loop.train(run, begun.state)
        checkpoints.close()
        return sampled, complete

    return run_once


def record_of(folder) -> list[tuple]:
    return [(line["step"], line["train_loss"], line.get("val_loss")) for line in read(folder)]


EXPECTED = [(1, 2, None), (2, 6, 3), (3, 12, None), (4, 20, 10), (5, 30, None), (6, 42, 21)]


def test_undisturbed_run_polls_as_often_as_the_test_below_assumes(start, tmp_path):
    stop = StopAtPoll(POLLS)
    assert start("run", stop) == ([3, 6], True)
    assert stop.polls_left == 0
    assert record_of(tmp_path / "run") == EXPECTED


@pytest.mark.parametrize("poll", range(POLLS))
def test_run_asked_to_stop_at_any_poll_resumes_to_the_same_record(start, tmp_path, poll):
    sampled, complete = start("run", StopAtPoll(poll))
    assert not complete
    assert Checkpoints(tmp_path / "run" / "checkpoints").latest_step() == len(record_of(tmp_path / "run"))
    sampled_later, complete = start("run", StopAtPoll(np.inf))
    assert complete
    assert record_of(tmp_path / "run") == EXPECTED
    assert sampled + sampled_later == [3, 6]


def test_skipped_step_whose_evaluation_was_prevented_is_saved_and_shown_later(start, tmp_path, monkeypatch):
    finite = step

    def skipping(state: TrainState, batch: jax.Array, lr: np.float32) -> tuple[TrainState, Measured]:
        state, measured = finite(state, batch, lr)
        return state, measured._replace(loss=jnp.float32(np.nan))

    with monkeypatch.context() as now:
        now.setitem(globals(), "step", skipping)
        assert start("run", StopAtPoll(2)) == ([], False)
    assert [loss for _, loss, _ in record_of(tmp_path / "run")] == [None, None]
    assert start("run", StopAtPoll(np.inf)) == ([3, 6], True)
    assert record_of(tmp_path / "run") == [(1, None, None), (2, None, 3), *EXPECTED[2:]]


def test_a_batch_without_targets_ends_the_run_with_its_name(start, tmp_path, monkeypatch):
    finite = step

    def step_without_targets(state: TrainState, batch: jax.Array, lr: np.float32) -> tuple[TrainState, Measured]:
        state, measured = finite(state, batch, lr)
        return state, measured._replace(loss=jnp.float32(np.nan), weight=jnp.float32(int(state.step) != 3))

    monkeypatch.setitem(globals(), "step", step_without_targets)
    with pytest.raises(
        ValueError, match=r"step 3: the batch has no target: .* sequences \d+ to \d+ of the run's order"
    ):
        start("run", StopAtPoll(np.inf))
    assert [number for number, _, _ in record_of(tmp_path / "run")] == [1, 2]


def test_samples_that_fail_cost_no_checkpoint_that_was_due(start, tmp_path):
    class Fails(StopAtPoll):
        def agreed(self) -> bool:
            assert not super().agreed(), "in a sample"
            return False

    with pytest.raises(AssertionError, match="in a sample"):
        start("run", Fails(POLLS - 1))
    assert Checkpoints(tmp_path / "run" / "checkpoints").latest_step() == CONFIG.steps
    assert record_of(tmp_path / "run") == EXPECTED


def test_run_asked_again_and_again_after_each_bit_of_progress_loses_nothing(start, tmp_path):
    complete, starts = False, 0
    while not complete:
        _, complete = start("run", StopAtPoll(3))  # enough for one evaluation
        starts += 1
        assert starts < 20
    assert record_of(tmp_path / "run") == EXPECTED
