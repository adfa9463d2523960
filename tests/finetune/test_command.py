"""Whole runs through the front door: what they leave behind, how they go on, and what they refuse."""

import itertools
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from finetuning import SHORT, call, last_state

from llm_jax import hf
from llm_jax import tokenizer as tokenizers
from llm_jax.adapters.base import base_hash
from llm_jax.checkpoint import load_run
from serve.models import load_model
from train.record.metrics import read


def begin(task: str, base: Path, files, runs: Path, *flags: str) -> Path:
    assert call(base, "--data", files[task], "--runs", runs, "--run", task, *SHORT, *flags) == 0
    return runs / task


@pytest.fixture(scope="module")
def adapted(base, files, tmp_path_factory) -> Path:
    """A finished run of LoRA on text."""
    flags = ("--lora.rank", "2", "--learning-rate", "0.02", "--micro-batch", "1", "--lora.dropout", "0.1")
    return begin("sft", base, files, tmp_path_factory.mktemp("lora"), *flags)


@pytest.fixture(scope="module")
def whole(base, files, tmp_path_factory) -> Path:
    """A finished run of all parameters on text."""
    return begin("sft", base, files, tmp_path_factory.mktemp("whole"), "--learning-rate", "0.003")


@pytest.fixture(scope="module")
def preferred(base, files, tmp_path_factory) -> Path:
    return begin("dpo", base, files, tmp_path_factory.mktemp("dpo"), "--lora", "--learning-rate", "0.01")


@pytest.fixture(scope="module")
def classifier(base, files, tmp_path_factory) -> Path:
    return begin("classify", base, files, tmp_path_factory.mktemp("classes"), "--lora", "--learning-rate", "0.02")


def test_a_run_leaves_everything_in_its_folder(adapted):
    names = {path.name for path in adapted.iterdir()}
    assert names >= {
        "config.json", "tokenizer", "checkpoints", "metrics.jsonl", "loss.png", "samples.txt", "tensorboard", "data"
    }  # fmt: skip
    record = json.loads((adapted / "config.json").read_text())
    assert record["command"] == "finetune"
    assert (record["task"], record["lora"]["rank"], record["base"]["step"]) == ("sft", 2, None)


@pytest.mark.parametrize("run", ["adapted", "whole"])
def test_losses_fall_and_are_measured_where_due(run, request):
    lines = list(read(request.getfixturevalue(run)))
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert [line["step"] for line in lines if "val_loss" in line] == [4, 8]
    assert lines[-1]["val_loss"] < lines[0]["train_loss"]
    assert all(before["tokens"] < after["tokens"] for before, after in itertools.pairwise(lines))


def test_samples_answer_held_out_prompts_before_and_after(adapted):
    samples = (adapted / "samples.txt").read_text()
    assert samples.count("── step 0,") == samples.count("── step 8,") == 3
    assert "+" in samples.split("── step 0, prompt 1 ──\n")[1].split("── answer ──")[0]


def test_the_checkpoint_holds_adapters_and_their_moments_alone(adapted, base):
    record = json.loads((adapted / "checkpoints/00000008/metadata.json").read_text())
    assert record["metadata"]["base"] == base_hash(hf.load(base).params)
    names = [name for name in record["arrays"] if "embedding" in name or "norm" in name]
    assert not names


def test_a_run_of_lora_is_served_as_its_base_with_the_adapters(adapted, base):
    model = load_model(str(adapted))
    run = hf.load_adapted(adapted)
    weight = model.params.blocks[0].mlp.up.weight
    pair = run.adapters.blocks[0]["mlp.up"]
    expected = hf.load(base).params.blocks[0].mlp.up.weight + run.lora.scale * pair.a @ pair.b
    np.testing.assert_allclose(weight, expected, rtol=1e-6, atol=1e-7)
    assert np.abs(weight - hf.load(base).params.blocks[0].mlp.up.weight).max() > 1e-4
    with pytest.raises(ValueError, match="holds LoRA's adapters and not a whole model"):
        load_run(adapted)


def test_a_run_of_all_parameters_is_a_run_as_any(whole):
    assert load_run(whole).step == 8
    assert load_model(str(whole)).tokenizer.vocab_size == 257


def without_last(run: Path, to: Path) -> Path:
    copy = shutil.copytree(run, to / run.name)
    shutil.rmtree(copy / "checkpoints/00000008")
    return copy


CLOCKS = {"seconds", "tokens_per_second", "mfu"}


@pytest.mark.parametrize(
    "kind",
    ["adapted", "whole", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("preferred", "classifier"))],
)
def test_a_resumed_run_ends_bit_equal(kind, request, tmp_path, capsys):
    run = request.getfixturevalue(kind)
    copy = without_last(run, tmp_path)
    assert call("--runs", tmp_path, "--run", run.name, "--resume") == 0
    assert "resume: from step 4, same devices: bit-equal" in capsys.readouterr().out
    found, expected = (
        [{k: v for k, v in line.items() if k not in CLOCKS} for line in read(one)] for one in (copy, run)
    )
    assert found == expected
    for ours, theirs in zip(last_state(copy), last_state(run), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_preferences_start_at_ln_2_with_rewards_of_0(preferred):
    lines = list(read(preferred))
    assert lines[0]["train_loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert lines[0]["reward_chosen"] == pytest.approx(0, abs=1e-4)
    assert lines[0]["reward_margin"] == pytest.approx(0, abs=1e-4)
    assert lines[-1]["val_reward_margin"] > 0.05
    assert lines[-1]["val_loss"] < math.log(2)
    assert lines[-1]["val_reward_accuracy"] > 0.9
    assert (preferred / "rewards.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.long
def test_the_reference_is_that_of_the_start_after_the_last_step_too(preferred, tmp_path):
    """A reference that followed the training would stay at rewards of 0."""
    kept = next((preferred / "reference").iterdir())
    before = kept.read_bytes()
    copy = without_last(preferred, tmp_path)
    shutil.rmtree(copy / "reference")
    assert call("--runs", tmp_path, "--run", "dpo", "--resume") == 0
    again = next((copy / "reference").iterdir())
    assert again.name == kept.name
    for split in ("train", "val"):
        np.testing.assert_array_equal(np.load(again)[split], np.load(kept)[split])
    assert kept.read_bytes() == before


def test_a_classifier_tells_accuracy_f1_and_confusion_and_cannot_write(classifier):
    last = list(read(classifier))[-1]
    assert {"val_accuracy", "val_f1", "accuracy", "train_loss"} <= last.keys()
    assert (classifier / "confusion.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"classify sorts texts into classes \(.*small.*\) and cannot write"):
        load_model(str(classifier))


def test_another_base_is_refused_by_name(adapted, base, tmp_path, capsys):
    config = hf.load(base)
    other = tmp_path / "other"
    hf.export(jax.tree.map(lambda x: 1.01 * x, config.params), config.config, config.tokenizer, other, "another\n")
    copy = without_last(adapted, tmp_path)
    assert call(other, "--runs", tmp_path, "--run", copy.name, "--resume") == 2
    error = capsys.readouterr().err
    assert "was begun from" in error
    assert f"{other} is another base" in error
    record = json.loads((copy / "config.json").read_text())
    record["base"] |= {"source": str(other), "folder": str(other)}
    (copy / "config.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="holds adapters for another base than"):
        load_model(str(copy))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--batch-size", "12"], "8 devices (data × fsdp) must divide the batch of 12 examples: try --batch-size 16"),
        (["--micro-batch", "3"], "micro_batch must divide each device's 1 examples; got 3"),
        (["--epochs", "0"], "epochs must be a number above 0"),
        (["--beta", "0"], "beta must be a number above 0"),
        (["--lora.rank", "0"], "rank of LoRA must be a whole number of at least 1; got 0"),
        (["--lora.targets", "lm_head"], "LoRA target 'lm_head' is an embedding or the head"),
        (["--lora", "--optimizer", "muon"], "optimizer=muon is for whole matrices"),
        (["--data", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--val-data", "pyproject.toml"], "--val-fraction is about the share of --data that validates"),
        (["--header", "text", "label"], "--header text label: no CSV or TSV table is read"),
        (["--beta", "0.3"], "are for task sft (beta 0.1 → 0.3): leave them out"),
        (["--sft-weight", "1"], "are for task sft (sft_weight 0.0 → 1.0): leave them out"),
        (["--run", "a/b"], "a run's name is made of letters"),
    ],
)
def test_bad_options_are_refused_with_the_cure(base, files, tmp_path, capsys, flags, message):
    assert call(base, "--data", files["sft"], "--runs", tmp_path, "--run", "new", *SHORT, *flags) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.rglob("config.json"))


def test_what_is_missing_is_named(base, files, tmp_path, capsys):
    for arguments, message in (
        (["--data", files["sft"], "--run", "x"], "no BASE given"),
        ([base, "--run", "x"], "no --data given"),
        ([base, "--data", files["sft"]], "no --run given"),
        ([tmp_path / "nowhere", "--data", files["sft"], "--run", "x", "--runs", tmp_path], "nowhere"),
    ):
        assert call(*arguments) == 2
        assert message in capsys.readouterr().err


def test_a_change_that_is_refused_leaves_the_data_of_the_run(whole, files, tmp_path, capsys):
    """The run goes on as it was; a change that is accepted replaces the data."""
    copy = without_last(whole, tmp_path)
    again = ("--runs", tmp_path, "--run", copy.name, "--resume")
    before = {path.name: path.read_bytes() for path in (copy / "data").iterdir()}
    assert call(*again, "--data", files["dpo"], "--allow-changes") == 2
    assert "was begun with task=sft; got task=dpo" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (copy / "data").iterdir()} == before
    assert call(*again, "--steps", "5") == 0
    other = tmp_path / "other.jsonl"
    other.write_text(files["sft"].read_text().replace("+", "-"))
    assert call(*again, "--steps", "6", "--data", other, "--allow-changes") == 0
    manifest = json.loads((copy / "data/manifest.json").read_text())
    assert manifest["inputs"]["data"][0]["name"] == "other.jsonl"
    assert not list(copy.glob("data-*"))
    assert call(*again, "--steps", "7") == 0


def test_a_resume_finds_a_base_that_was_given_relative_to_another_folder(base, files, tmp_path, monkeypatch):
    monkeypatch.chdir(base.parent)
    run = begin("sft", Path(base.name), files, tmp_path, "--steps", "1")
    monkeypatch.chdir(tmp_path)
    assert call("--runs", tmp_path, "--run", "sft", "--resume", "--steps", "2") == 0
    record = json.loads((run / "config.json").read_text())
    assert (record["base"]["source"], record["base"]["folder"]) == (base.name, str(base))


def test_a_run_of_pretraining_is_not_gone_on_with(base, files, tmp_path, capsys):
    (tmp_path / "old").mkdir()
    (tmp_path / "old/config.json").write_text('{"format": 1}')
    assert call(base, "--data", files["sft"], "--runs", tmp_path, "--run", "old", "--resume") == 2
    assert "is a run of `python -m train pretrain`" in capsys.readouterr().err


def test_the_token_that_ends_a_trained_turn_stops_servers_of_the_run_and_of_its_exports(chatting_base, files, tmp_path):
    """The base's tokenizer ends a text with another token."""
    run = begin("sft", chatting_base, files, tmp_path, "--template", "chatml", "--lora", "--steps", "1")
    hf.export_adapter(run, tmp_path / "adapter")
    hf.export_run(run, tmp_path / "merged")
    for folder in (run / "tokenizer", tmp_path / "adapter", tmp_path / "merged"):
        borders = tokenizers.load(folder).borders
        assert (borders.end, borders.stops) == (256, (256, 258))
    assert json.loads((tmp_path / "merged/generation_config.json").read_text())["eos_token_id"] == [256, 258]
    manifest = run / "data/manifest.json"
    content = json.loads(manifest.read_text())
    assert content.pop("ends") == [258]
    manifest.write_text(json.dumps(content))  # as older runs have it
    assert call("--runs", tmp_path, "--run", "sft", "--resume", "--steps", "2") == 0


def test_show_prints_examples_and_begins_nothing(base, files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(base, "--data", files["sft"], "--show", "2") == 0
    assert capsys.readouterr().out.count("+") >= 2
    assert not list(tmp_path.iterdir())
    assert call(base, "--data", files["sft"], "--show", "1", "--max-length", "5") == 0
    assert re.search(r"Of all rows: \d+ cut at the longest length", capsys.readouterr().out)


def test_what_is_opened_before_processes_join_each_other_uses_no_device(base, whole, adapted, files, tmp_path):
    """JAX does not join processes that have used a device. On a platform that does not exist any use is an error."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from train.finetune.config import DataConfig, FinetuneConfig\n"
        "from train.finetune.inputs import open_inputs\n"
        "for number, source in enumerate(sys.argv[2:]):\n"
        "    config = FinetuneConfig(data=DataConfig(files=(sys.argv[1],)))\n"
        "    print(open_inputs(source, config, Path(str(number))).model.d_model)\n"
    )
    command = [sys.executable, "-c", program, files["sft"], base, whole, adapted]
    environment = os.environ | {"JAX_PLATFORMS": "nowhere", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([*map(str, command)], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["16", "16", "16"], done.stderr
