"""A whole run through the front door: what it leaves behind, and what it refuses before it begins."""

import csv
import json
import math
import os
import shutil
import signal
from pathlib import Path

import pytest

from llm_jax.checkpoint import load_run
from llm_jax.command_line import run as front_door
from train.__main__ import COMMANDS
from train.pretrain import build
from train.pretrain.config import TrainConfig
from train.record.metrics import KEYS, read

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


def test_a_run_by_the_plain_formulas_learns_the_same(finished, text, tmp_path):
    flags = ("--data", text, "--runs", tmp_path, "--run", "plain", "--kernels", "plain", *SMALL)
    assert call("pretrain", "shakespeare-char", *flags) == 0
    plain, fast = (list(read(folder)) for folder in (tmp_path / "plain", finished))
    for name in ("train_loss", "grad_norm", "val_loss"):
        found, expected = ([line[name] for line in lines if line.get(name)] for lines in (plain, fast))
        assert found == pytest.approx(expected, rel=1e-4), name


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
        (["--micro-batch", "3"], "micro_batch must divide the batch of 16 sequences; got 3: try 2"),
        (["--run", "../elsewhere"], "a run's name is made of letters"),
        (["--steps", "0"], "steps must be at least 1"),
        (["--data", "nowhere"], "nowhere: no such folder"),
        (["--reference", "nowhere.csv"], "no curve nowhere.csv"),
        (["--loss-chunks", "0"], "loss_chunks must be at least 1; got 0"),
        (["--loss-chunks", "5"], "loss_chunks must divide context_length; got 5 and 16: try loss_chunks=4"),
        (["--eval-tokens", "-1"], "eval_tokens must be at least 1; got -1"),
        (["--keep-last", "0"], "keep_last must be at least 1; got 0"),
        (["--log-every", "-1"], "log_every must not be negative (0: never); got -1"),
    ],
)
def test_bad_options_are_refused_with_numbers_and_cure(text, tmp_path, capsys, flags, message):
    status = call("pretrain", "shakespeare-char", "--data", text, "--runs", tmp_path, *SMALL, *flags)
    assert status == 2
    assert message in " ".join(capsys.readouterr().err.split())  # tyro wraps what a config says
    assert not list(tmp_path.rglob("config.json"))


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """The finished run, to be gone on with."""
    return shutil.copytree(finished, tmp_path / "poem")


def resume(folder: Path, *flags: str | Path) -> int:
    return call("pretrain", "shakespeare-char", "--runs", folder.parent, "--run", folder.name, "--resume", *flags)


def test_a_micro_batch_that_fits_no_devices_is_refused_before_the_text_is_tokenized(
    text, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("train.pretrain.build.open_inputs", None)
    status = call("pretrain", "shakespeare-char", "--data", text, "--runs", tmp_path, *SMALL, "--micro-batch", "3")
    assert status == 2
    assert "micro_batch must divide the batch of 16 sequences; got 3: try 2" in capsys.readouterr().err
    for micro_batch in range(1, 20):
        config = TrainConfig(batch_tokens=16 * 1024, micro_batch=micro_batch)
        fits = any(_fits(config, devices) for devices in (1, 2, 4, 8, 16))
        assert (_refusal(config.check_micro_batch) is None) == fits


def _fits(config: TrainConfig, devices: int) -> bool:
    return _refusal(lambda: config.micro_batches(devices)) is None


def _refusal(check) -> str | None:
    try:
        check()
    except ValueError as error:
        return str(error)
    return None


def test_a_resume_without_flags_goes_on_with_the_runs_own_settings_bit_equal(copy, capsys):
    before = (copy / "config.json").read_bytes()
    assert resume(copy) == 0
    said = capsys.readouterr().out
    assert "resume: from step 8, same devices: bit-equal" in said
    assert "other settings" not in said
    assert (copy / "config.json").read_bytes() == before


def test_a_resume_with_other_settings_says_which_and_keeps_them(copy, capsys):
    assert resume(copy, "--steps", "12", "--learning-rate", "0.001", "--eval-every", "6") == 0
    said = capsys.readouterr().out
    assert "same devices, other settings (learning_rate 0.004 → 0.001, steps 8 → 12): another run from here on" in said
    assert "resume: eval_every 4 → 6" in said
    assert "bit-equal" not in said
    lines = list(read(copy))
    assert [line["step"] for line in lines if "val_loss" in line] == [4, 8, 12]
    assert lines[-1]["lr"] <= 0.001
    assert call("status", copy.name, "--runs", copy.parent) == 0
    assert "step 12 of 12 (100.0%)" in capsys.readouterr().out
    assert resume(copy) == 0
    assert "bit-equal" in capsys.readouterr().out


def test_fewer_steps_than_are_done_are_refused_and_change_nothing(copy, capsys):
    before = (copy / "config.json").read_bytes()
    assert resume(copy, "--steps", "4") == 2
    said = capsys.readouterr()
    assert "poem is at step 8 already; --steps 4 is fewer" in said.err
    assert "resume:" not in said.out
    assert (copy / "config.json").read_bytes() == before
    assert len(list(read(copy))) == 8


def test_another_model_is_refused(copy, capsys):
    assert resume(copy, "--n-layers", "2") == 2
    assert "was begun with n_layers=1; got n_layers=2: its checkpoints would not fit" in capsys.readouterr().err


def test_changes_that_are_allowed_are_whole(copy, text, tmp_path, capsys):
    """Data, tokenizer and record are those of the new run: it goes on with them, and no more with the old."""
    (tmp_path / "loud.txt").write_text(text.read_text().upper())  # as many characters, all of them others
    loud = tmp_path / "loud"
    assert call("prepare", "--source", tmp_path / "loud.txt", "--tokenizer", "characters", "--out", loud) == 0
    flags = ("--data", loud, "--batch-tokens", "128", "--steps", "12")
    assert resume(copy, *flags) == 2
    assert "global_batch 16 → 8): restore the old values, or say --allow-changes" in capsys.readouterr().err
    assert resume(copy, *flags, "--allow-changes") == 0
    said = capsys.readouterr().out
    assert "global_batch 16 → 8" in said
    assert "bit-equal" not in said
    assert [line["tokens"] for line in read(copy)] == [256 * step for step in range(1, 9)] + [
        8 * 256 + 128 * step for step in range(1, 5)
    ]
    assert load_run(copy).tokenizer.decode(load_run(copy).tokenizer.encode("THE FOX")) == "THE FOX"
    assert resume(copy, "--data", text) == 2
    capsys.readouterr()
    assert resume(copy, "--steps", "13") == 0
    assert "other settings (steps 12 → 13)" in capsys.readouterr().out
    assert list(read(copy))[-1]["tokens"] == 8 * 256 + 5 * 128


def test_a_tokenizer_that_an_interrupted_start_left_out_is_written_by_the_next(copy):
    shutil.rmtree(copy / "tokenizer")
    assert resume(copy) == 0
    assert load_run(copy).tokenizer.decode(load_run(copy).tokenizer.encode("the fox")) == "the fox"


def test_another_text_is_refused_with_flags_that_pretrain_has(copy, tmp_path, capsys):
    (tmp_path / "other.txt").write_text("something else\n" * 500)
    assert resume(copy, "--data", tmp_path / "other.txt", "--allow-changes") == 2
    error = capsys.readouterr().err
    assert "python -m train prepare --source" in error
    assert "then --data DIR --allow-changes" in error


def test_asked_to_stop_while_compiling_there_is_a_run_that_can_be_gone_on_with(text, tmp_path, monkeypatch, capsys):
    def compile_step(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return compiled(*arguments)

    compiled = build.compile_step
    monkeypatch.setattr(build, "compile_step", compile_step)
    command = ("pretrain", "shakespeare-char", "--data", text, "--runs", tmp_path, "--run", "poem", *SMALL)
    assert call(*command, "--auto-resume") == 75
    assert "SIGTERM: no step done, nothing to save; go on with --resume" in capsys.readouterr().out
    monkeypatch.undo()
    assert resume(tmp_path / "poem") == 0
    assert "resume: no checkpoint yet: begins at step 0" in capsys.readouterr().out
    assert [line["step"] for line in read(tmp_path / "poem")] == list(range(1, 9))


def test_max_skipped_0_never_stops_a_run(text, tmp_path):
    command = ("pretrain", "shakespeare-char", "--data", text, "--runs", tmp_path, "--run", "nan", *SMALL)
    assert call(*command, "--learning-rate", "1e38", "--clip-norm", "0", "--max-skipped", "0") == 0
    lines = list(read(tmp_path / "nan"))
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert lines[0]["train_loss"] > 0
    assert lines[-1]["train_loss"] is None
    assert call("status", "nan", "--runs", tmp_path) == 0


def test_unknown_preset_and_command_are_answered_with_the_known_ones(capsys):
    assert call("pretrain", "gpt5") == 2
    assert "'gpt5'; one of: gpt2-nano" in capsys.readouterr().err
    assert call("pretrian") == 2
    assert "did you mean 'pretrain'?" in capsys.readouterr().err


def test_a_published_curve_is_drawn_and_a_broken_one_named(finished, tmp_path):
    from train.record.plots import draw_loss

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
