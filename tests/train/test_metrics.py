"""The record of a run has one line a step, whatever happened to the process that wrote it."""

import json

import numpy as np
import pytest

from llm_jax.runs import METRICS
from train.record.metrics import Metrics, mend, read
from train.record.plots import smooth
from train.record.progress import ago, describe


def line(step: int) -> dict:
    return {"step": step, "train_loss": 1 / step}


def write(run, steps, keep_steps=0):
    with Metrics(run, keep_steps) as metrics:
        for step in steps:
            metrics.write(line(step))


def steps(run) -> list[int]:
    return [values["step"] for values in read(run)]


def test_resuming_cuts_off_what_the_checkpoint_does_not_know(tmp_path):
    write(tmp_path, range(1, 8))
    write(tmp_path, range(6, 10), keep_steps=5)
    assert steps(tmp_path) == list(range(1, 10))


def test_a_line_that_was_being_written_is_not_read_and_is_cut_off(tmp_path):
    write(tmp_path, range(1, 4))
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 4, "train_')
    assert steps(tmp_path) == [1, 2, 3]
    write(tmp_path, [4], keep_steps=3)
    assert steps(tmp_path) == [1, 2, 3, 4]


def test_starting_from_step_zero_drops_everything(tmp_path):
    write(tmp_path, range(1, 4))
    write(tmp_path, [1], keep_steps=0)
    assert steps(tmp_path) == [1]


def test_missing_lines_are_an_error_and_not_a_gap(tmp_path):
    write(tmp_path, range(1, 4))
    with pytest.raises(ValueError, match=r"metrics.jsonl ends at step 3, but the checkpoint is of step 5"):
        Metrics(tmp_path, 5)


def test_a_missing_file_is_an_error_when_resuming(tmp_path):
    with pytest.raises(ValueError, match="is missing, but the checkpoint is of step 5"):
        Metrics(tmp_path, 5)


def test_unknown_names_are_refused(tmp_path):
    with Metrics(tmp_path) as metrics, pytest.raises(ValueError, match="unknown metric 'loss'"):
        metrics.write({"step": 1, "loss": 2.0})


def test_a_loss_that_is_not_finite_is_null_and_can_be_shown(tmp_path):
    with Metrics(tmp_path) as metrics:
        metrics.write({"step": 1, "train_loss": float("nan"), "grad_norm": float("inf")})
    text = (tmp_path / METRICS).read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"step": 1, "train_loss": None, "grad_norm": None}
    (line,) = read(tmp_path)
    assert describe(line | {"lr": 0.1, "tokens_per_second": 1.0}).startswith("loss not finite  lr")


def test_a_skipped_step_leaves_the_smoothed_curve_as_it_is_elsewhere():
    losses = np.linspace(5, 3, 200)
    smoothed = smooth(losses)
    losses[100] = np.nan
    with_a_gap = smooth(losses)
    np.testing.assert_allclose(with_a_gap, smoothed, atol=0.01)
    np.testing.assert_array_equal(with_a_gap[:95], smoothed[:95])
    assert np.isnan(smooth(np.full(3, np.nan))).all()


def test_lines_are_plain_json_in_a_fixed_order(tmp_path):
    with Metrics(tmp_path) as metrics:
        metrics.write({"val_loss": 2.0, "train_loss": 1.5, "step": 1})
    assert (tmp_path / METRICS).read_text() == json.dumps({"step": 1, "train_loss": 1.5, "val_loss": 2.0}) + "\n"


@pytest.mark.parametrize(
    "damage", [b'{"step": 2, "tra\n', b"\0" * 20 + b"\n", b"[2]\n", b"\xff\xfe\xe9\n", b'{"step": "x"}\n']
)
def test_a_damaged_log_is_read_with_a_warning_and_mended_without_gap_or_duplicate(tmp_path, damage, caplog):
    write(tmp_path, range(1, 5))
    lines = (tmp_path / METRICS).read_bytes().splitlines(keepends=True)
    (tmp_path / METRICS).write_bytes(b"".join([lines[0], damage, *lines[2:], lines[3], b'{"step": 5, "tr']))
    assert [step for step in steps(tmp_path) if step != 4] == [1, 3]
    assert f"{tmp_path / METRICS}, line 2" in caplog.text
    assert mend(tmp_path, 4) == [2]
    write(tmp_path, [5], keep_steps=4)
    assert steps(tmp_path) == [1, 2, 3, 4, 5]


def test_a_missing_log_is_begun_anew_with_the_steps_that_are_done(tmp_path):
    assert mend(tmp_path, 3) == [1, 2, 3]
    write(tmp_path, [4], keep_steps=3)
    assert steps(tmp_path) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (10805.0, "3:00:05 ago"),
        (-2, "just now"),
        (-10805, "3:00:05 ahead of"),
        (1e9, "11,574 days ago"),
        (-1e12, "days"),
    ],
)
def test_an_age_is_never_negative_and_a_clock_that_is_ahead_is_named(seconds, said):
    assert said in ago(seconds)
    assert "-" not in ago(seconds)
