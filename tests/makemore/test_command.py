"""`python -m train makemore`, through the front door."""

import json
import math

import pytest

from llm_jax.command_line import run as front_door
from train.__main__ import COMMANDS
from train.metrics import read

NEURAL = ("neural-bigram", "mlp", "mlp-batchnorm", "rnn", "gru", "wavenet", "transformer")


def call(*arguments) -> int:
    try:
        return front_door("python -m train", "", COMMANDS, ["makemore", *map(str, arguments)])
    except SystemExit as leaving:  # tyro's own way out, for a flag it or a config refuses
        return int(leaving.code or 0)


@pytest.mark.parametrize("model", NEURAL)
def test_every_model_trains_and_leaves_everything_in_its_folder(model, file, tmp_path, capsys):
    few = ("--steps", 4, "--batch-size", 8, "--samples", 2)
    assert call("--model", model, "--data", file, "--runs", tmp_path, *few) == 0
    folder = tmp_path / f"makemore-{model}"
    names = {"loss.png", "diagnostics.png", "metrics.jsonl", "samples.txt", "summary.json"}
    assert names <= {path.name for path in folder.iterdir()}
    summary = json.loads((folder / "summary.json").read_text())
    assert set(summary["losses"]) == {"train", "dev", "test"}
    assert summary["loss_at_initialisation"] == pytest.approx(math.log(7), abs=0.2)
    assert [line["step"] for line in read(folder)] == [1, 2, 3, 4]
    assert len((folder / "samples.txt").read_text().splitlines()) == 2
    assert "guessing would be ln 7 = 1.9459" in capsys.readouterr().out


def test_training_by_hand_learns(file, tmp_path):
    command = ("--model", "mlp-batchnorm", "--gradients", "by-hand", "--data", file, "--runs", tmp_path)
    assert call(*command, "--steps", 60, "--batch-size", 64, "--prompt", "ba") == 0
    summary = json.loads((tmp_path / "makemore-mlp-batchnorm" / "summary.json").read_text())
    assert summary["gradients"] == "by-hand"
    assert summary["losses"]["dev"] < 1.4 < math.log(7)
    assert all(line.startswith("ba") for line in (tmp_path / "makemore-mlp-batchnorm/samples.txt").read_text().split())


def test_counts_are_shown_with_six_digits(file, tmp_path, capsys):
    assert call("--model", "bigram", "--data", file, "--runs", tmp_path) == 0
    losses = json.loads((tmp_path / "makemore-bigram" / "summary.json").read_text())["losses"]
    shown = capsys.readouterr().out
    assert all(f"{loss:.6f}" in shown for loss in losses.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--learning-rate", "100", "--steps", "50"), "error: step "),
        (
            ("--prompt", "xyz"),
            "error: --prompt 'xyz' cannot begin a line: character 'x' (U+0078) at position 0 is not among",
        ),
        (("--model", "rnn", "--gradients", "by-hand"), "derived for mlp-batchnorm; got --model rnn"),
        (("--dropout", "1.5", "--model", "transformer"), "dropout must lie in [0, 1); got 1.5"),
        (("--dropout", "0.1", "--model", "rnn"), "only the transformer has dropout; got --model rnn"),
        (("--steps", "0"), "steps must be at least 1; got 0"),
    ],
)
def test_a_mistake_gets_one_line_and_no_traceback(arguments, message, file, tmp_path, capsys):
    assert call("--data", file, "--runs", tmp_path, *arguments) == 2
    error = capsys.readouterr().err
    assert message in " ".join(error.split())
    assert "Traceback" not in error


def test_an_older_run_is_replaced_and_anything_else_left_alone(file, tmp_path, capsys):
    command = ("--model", "bigram", "--data", file, "--runs", tmp_path, "--run", "mine")
    assert call(*command) == call(*command) == 0
    (tmp_path / "mine" / "summary.json").write_text("{}")
    assert call(*command) == 2
    assert "is not a makemore run" in capsys.readouterr().err
