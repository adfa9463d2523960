"""`python -m train compare`: bands hold what chance does, and say where two runs part."""

import json
from pathlib import Path

import numpy as np
import pytest

from llm_jax import command_line
from train.__main__ import COMMANDS
from train.record.compare import bands
from train.record.compare.bands import Curve

BATCH = 4096  # tokens a step
LUCK = 0.06  # spread of one step's loss


def curve(seed: int, steps: int = 2000, worse_from: int | None = None, by: float = 0.05) -> Curve:
    step = np.arange(1, steps + 1)
    losses = 3 + 6 * np.exp(-step / 60) + np.random.default_rng(seed).normal(0, LUCK, steps)
    if worse_from is not None:
        losses += np.where(step > worse_from, by, 0)
    return Curve(f"seed {seed}", step * float(BATCH), losses, np.empty(0), np.empty(0))


@pytest.mark.parametrize("seed", range(5))
def test_runs_that_differ_by_luck_alone_do_not_part(seed):
    assert not bands.compare(curve(2 * seed), curve(2 * seed + 1)).differing_ranges()


@pytest.mark.parametrize("worse_from", [500, 1200])
def test_runs_part_where_one_becomes_worse(worse_from):
    (first, last), *more = bands.compare(curve(0), curve(1, worse_from=worse_from)).differing_ranges()
    assert not more
    window = 0.05 * 2000 * BATCH
    assert abs(first - worse_from * BATCH) < window
    assert last > 1900 * BATCH


def test_a_difference_below_the_band_is_not_called_one():
    assert not bands.compare(curve(0), curve(1, worse_from=0, by=LUCK / 20)).differing_ranges()


def losing(curve: Curve, lost: np.ndarray | slice) -> Curve:
    losses = curve.losses.copy()
    losses[lost] = np.nan
    return Curve(curve.name, curve.tokens, losses, curve.val_tokens, curve.val_losses)


def test_skipped_steps_hide_no_parting_and_make_none():
    every_twelfth = slice(None, None, 12)
    assert not bands.compare(curve(0), losing(curve(1), every_twelfth)).differing_ranges()
    (first, _), *more = bands.compare(curve(0), losing(curve(1, worse_from=500), every_twelfth)).differing_ranges()
    assert not more
    assert abs(first - 500 * BATCH) < 0.05 * 2000 * BATCH


def test_a_run_that_diverged_on_the_way_has_left_the_other():
    for a, b in ((curve(0), losing(curve(1), slice(1000, None))), (losing(curve(0), slice(1000, None)), curve(1))):
        ((first, last),) = bands.compare(a, b).differing_ranges()
        assert abs(first - 1000 * BATCH) < 0.05 * 2000 * BATCH
        assert last == 2000 * BATCH


def test_the_standard_error_is_that_of_a_mean_and_shrinks_with_the_window():
    steps = curve(0)
    middle = steps.tokens[[1000]]
    for n in (100, 400):
        band = bands.band(steps, middle, n * BATCH)
        assert band.error[0] == pytest.approx(LUCK / np.sqrt(n), rel=0.15)


def test_a_straight_line_has_no_error_even_at_its_ends():
    tokens = np.arange(1, 101) * 10.0
    straight = Curve("line", tokens, 5 - 0.002 * tokens, np.empty(0), np.empty(0))
    band = bands.band(straight, tokens[[0, 50, 99]], 200)
    assert band.loss == pytest.approx(straight.losses[[0, 50, 99]], abs=1e-12)
    assert band.error == pytest.approx(0, abs=1e-12)


def run(*arguments: str) -> int:
    return command_line.run("python -m train", "", COMMANDS, ["compare", *arguments])


def write_run(folder: Path, curve: Curve, not_finite: float | None = None) -> None:
    folder.mkdir(parents=True)
    losses = [loss if np.isfinite(loss) else not_finite for loss in curve.losses]
    lines = [
        {"step": step, "tokens": int(tokens), "train_loss": loss, "val_loss": loss if step % 250 == 0 else None}
        for step, (tokens, loss) in enumerate(zip(curve.tokens, losses, strict=True), 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_two_runs_on_the_command_line(tmp_path, capsys):
    write_run(tmp_path / "base", curve(0))
    write_run(tmp_path / "same", curve(1))
    write_run(tmp_path / "worse", curve(2, worse_from=900))
    flags = ("--runs", str(tmp_path), "--out", str(tmp_path / "new" / "plot.png"))
    assert run("base", "same", *flags) == 0
    assert "stay within each other's band up to 8,192,000 tokens" in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "new" / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert run("base", str(tmp_path / "worse"), *flags) == 1
    assert "base leaves the band of worse" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("written", [None, float("nan")])  # now, and by older versions
def test_losses_that_are_not_finite_are_counted_and_a_run_of_nothing_else_is_refused(written, tmp_path, capsys):
    write_run(tmp_path / "base", curve(0))
    for name, lost in (("some", slice(0, None, 50)), ("late", slice(1000, None)), ("bad", slice(3, None))):
        write_run(tmp_path / name, losing(curve(1), lost), written)
    flags = ("--runs", str(tmp_path), "--out", str(tmp_path / "plot.png"))
    assert run("base", "some", *flags) == 0
    assert "some: 40 of 2,000 steps have no finite loss; they are left out" in capsys.readouterr().out
    assert run("base", "late", *flags) == 1
    assert "late has no finite loss around" in capsys.readouterr().out
    assert run("base", "bad", *flags) == 2
    assert "bad: the losses of 1,997 of its 2,000 steps are not finite" in capsys.readouterr().err


def test_a_published_curve_counts_steps_in_tokens(tmp_path, capsys):
    write_run(tmp_path / "base", curve(0))
    other = curve(1, steps=500)
    lines = [f"{step},train_loss,{loss}" for step, loss in enumerate(other.losses, 1)]
    (tmp_path / "published.csv").write_text("\n".join(["step,metric,value", *lines]) + "\n")
    flags = ("--runs", str(tmp_path), "--out", str(tmp_path / "plot.png"), "--batch-tokens", str(BATCH))
    assert run("base", str(tmp_path / "published.csv"), *flags) == 0
    assert "up to 2,048,000 tokens" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("b", "message"),
    [
        ("nothing", "no run 'nothing': there is no nothing/metrics.jsonl or"),
        ("empty", "has no training loss yet"),
        ("late", "no tokens in common"),
        ("short", "too few steps in common"),
        ("validation.csv", "has the metrics val_loss; expected train_loss"),
        ("columns.csv", "expected step,metric,value"),
        ("missing.csv", "missing.csv: expected a CSV file with the columns step,metric,value"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(b, message, tmp_path, capsys):
    write_run(tmp_path / "base", curve(0, steps=200))
    write_run(tmp_path / "empty", curve(0, steps=0))
    write_run(tmp_path / "short", curve(0, steps=9))
    late = curve(0, steps=200)
    write_run(tmp_path / "late", Curve("late", late.tokens + 1e9, late.losses, late.val_tokens, late.val_losses))
    (tmp_path / "validation.csv").write_text("step,metric,value\n1,val_loss,3.5\n")
    (tmp_path / "columns.csv").write_text("a,b\n1,2\n")
    other = str(tmp_path / b) if b.endswith(".csv") else b
    assert run("base", other, "--runs", str(tmp_path), "--batch-tokens", "1", "--out", str(tmp_path / "p.png")) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
