"""A whole run through the front door: what it leaves behind, and what it refuses before it begins."""

import csv
import json
import math
from pathlib import Path

import pytest

from llm_jax.checkpoint import load_run
from llm_jax.command_line import run as front_door
from train.__main__ import COMMANDS
from train.metrics import KEYS, read

SMALL = (
    *("--d-model", "32", "--n-heads", "2", "--n-layers", "1", "--context-length", "16", "--batch-tokens", "256"),
    *("--eval-tokens", "512", "--sample-tokens", "8", "--sample-every", "4", "--eval-every", "4", "--steps", "8"),
    *("--warmup-steps", "2", "--checkpoint-every", "4"),
)


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("text") / "poem.txt"
    path.write_text("the quick brown fox jumps over the lazy dog\n" * 200)
    return path


def call(*arguments: str | Path) -> int:
    try:
        return front_door("python -m train", "", COMMANDS, [str(argument) for argument in arguments])
    except SystemExit as leaving:  # tyro's own way out, for a flag it or a config refuses
        return int(leaving.code or 0)


@pytest.fixture(scope="module")
def finished(text, tmp_path_factory) -> Path:
    """The folder of a short, finished run on a text file."""
    runs = tmp_path_factory.mktemp("runs")
    status = call("pretrain", "shakespeare-char", "--data", text, "--runs", runs, "--run", "poem", *SMALL)
    assert status == 0
    return runs / "poem"


def test_a_run_leaves_everything_in_its_folder(finished):
    names = {path.name for path in finished.iterdir()}
    assert names >= {
        "config.json", "tokenizer", "checkpoints", "metrics.jsonl", "loss.png", "samples.txt", "tensorboard", "data"
    }  # fmt: skip


def test_metrics_have_one_line_a_step_with_the_documented_keys(finished):
    lines = list(read(finished))
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert [line["tokens"] for line in lines] == [256 * step for step in range(1, 9)]
    validation = {key for key in KEYS if key.startswith(("val_", "hellaswag_"))}  # only where measured
    assert all(set(KEYS) - validation == set(line) - validation for line in lines)
    assert [line["step"] for line in lines if "val_loss" in line] == [4, 8]
    assert lines[-1]["train_loss"] < lines[0]["train_loss"]


def test_bits_per_byte_of_characters_are_the_loss_in_bits(finished):
    last = list(read(finished))[-1]  # every character of this text is one byte
    assert last["val_bits_per_byte"] == pytest.approx(last["val_loss"] / math.log(2), rel=1e-6)


def test_a_run_can_be_loaded_for_serving(finished):
    loaded = load_run(finished)
    assert loaded.step == 8
    assert loaded.config.d_model == 32
    assert loaded.tokenizer.decode(loaded.tokenizer.encode("the fox")) == "the fox"


def test_samples_name_their_step(finished):
    samples = (finished / "samples.txt").read_text()
    assert samples.count("── step 4,") == samples.count("── step 8,") == 2


def test_a_second_start_is_refused(finished, text, capsys):
    status = call("pretrain", "shakespeare-char", "--data", text, "--runs", finished.parent, "--run", "poem", *SMALL)
    assert status == 2
    assert "holds a run already: go on with it (--resume)" in capsys.readouterr().err


def test_resuming_what_was_never_begun_is_refused(text, tmp_path, capsys):
    status = call("pretrain", "shakespeare-char", "--data", text, "--runs", tmp_path, "--resume", *SMALL)
    assert status == 2
    assert "no run to resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--fsdp", "16"], "needs 16 devices, but JAX sees 8"),
        (["--batch-tokens", "100"], "batch_tokens must be a multiple of context_length; got 100 and 16"),
        (["--batch-tokens", "64"], "8 devices (data × fsdp) must divide the batch of 4 sequences"),
        (["--micro-batch", "3"], "micro_batch must divide each device's 2 sequences; got 3"),
        (["--run", "../elsewhere"], "a run's name is made of letters"),
        (["--steps", "0"], "steps must be at least 1"),
        (["--data", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_bad_options_are_refused_with_numbers_and_cure(text, tmp_path, capsys, flags, message):
    status = call("pretrain", "shakespeare-char", "--data", text, "--runs", tmp_path, *SMALL, *flags)
    assert status == 2
    assert message in " ".join(capsys.readouterr().err.split())  # tyro wraps what a config says


def test_unknown_preset_and_command_are_answered_with_the_known_ones(capsys):
    assert call("pretrain", "gpt5") == 2
    assert "'gpt5'; one of: gpt2-nano" in capsys.readouterr().err
    assert call("pretrian") == 2
    assert "did you mean 'pretrain'?" in capsys.readouterr().err


def test_a_published_curve_is_drawn_and_a_broken_one_named(finished, tmp_path):
    from train.plots import draw_loss

    curve = tmp_path / "curve.csv"
    with curve.open("w", newline="") as file:
        csv.writer(file).writerows([("step", "metric", "value"), (0, "val_loss", 4.0), (4, "val_loss", 3.0)])
    out = tmp_path / "loss.png"
    draw_loss(out, list(read(finished)), "title", (curve, 256))
    assert out.read_bytes().startswith(b"\x89PNG")
    curve.write_text("step,metric,value\n0,val_loss,much\n")
    with pytest.raises(ValueError, match=r"curve.csv, line 2"):
        draw_loss(out, list(read(finished)), "title", (curve, 256))


def test_config_of_a_run_says_what_was_trained(finished):
    record = json.loads((finished / "config.json").read_text())
    assert record["model"]["vocab_size"] == 28  # the alphabet, the space and the line break
    assert record["identity"]["global_batch"] == 16
