"""`python -m train makemore`, through the front door."""

import json
import math

import pytest
from forms import forms

from llm_jax.command_line import run as front_door
from train.__main__ import COMMANDS
from train.record.metrics import read

NEURAL = ("neural-bigram", "mlp", "mlp-batchnorm", "rnn", "gru", "wavenet", "transformer")


def call(*arguments) -> int:
    try:
        return front_door("python -m train", "", COMMANDS, ["makemore", *map(str, arguments)])
    except SystemExit as leaving:  # tyro's own way out, for a flag it or a config refuses
        return int(leaving.code or 0)


# One of windows, with batch norm, and one of sequences in the default run.
@pytest.mark.parametrize("model", forms(NEURAL, ["mlp-batchnorm", "gru"]))
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
        (("--seed", "-1"), "seed must not be negative; got -1"),
        (("--model", "bigram", "--order", "3"), "a bigram has order 2; got --order 3"),
        (("--model", "bigram", "--steps", "5"), "bigram is counted, not trained: --steps has no meaning for it"),
        (("--model", "ngram", "--batch-size", "9"), "ngram is counted, not trained: --batch-size has no meaning"),
        (("--model", "ngram", "--learning-rate", "3"), "ngram is counted, not trained: --learning-rate has no meaning"),
        (("--model", "ngram", "--weight-decay", "0"), "ngram is counted, not trained: --weight-decay has no meaning"),
        (("--model", "mlp", "--smoothing", "7"), "mlp is trained, not counted: --smoothing has no meaning for it"),
        (("--model", "gru", "--order", "3"), "gru is trained, not counted: --order has no meaning for it"),
        (
            ("--model", "ngram", "--order", "4", "--smoothing", "0", "--prompt", "kk"),
            r"error: '\nkk' was never seen in the training lines, so nothing follows it: choose a --smoothing above 0",
        ),
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


def test_a_run_that_fails_leaves_the_older_one_whole_and_nothing_of_itself(file, tmp_path):
    command = ("--data", file, "--runs", tmp_path, "--run", "mine")
    assert call("--model", "bigram", *command) == 0
    older = {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()}
    assert call("--model", "ngram", "--smoothing", 0, "--prompt", "kk", *command) == 2
    assert call("--model", "mlp", "--learning-rate", 100, "--steps", 50, *command) == 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()} == older
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_without_flags_a_count_model_is_a_smoothed_trigram(file, tmp_path):
    assert call("--model", "ngram", "--data", file, "--runs", tmp_path) == 0
    summary = json.loads((tmp_path / "makemore-ngram" / "summary.json").read_text())
    assert (summary["order"], summary["smoothing"]) == (3, 0.1)
    assert call("--model", "bigram", "--order", 2, "--data", file, "--runs", tmp_path) == 0
