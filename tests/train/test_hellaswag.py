"""HellaSwag inside training: the figures of the record are those of the saved model, on any mesh."""

import json

import pytest

from llm_jax.checkpoint import load_run
from llm_jax.command_line import run as front_door
from llm_jax.config import Execution
from llm_jax.models import decoder
from llm_jax.scoring import hellaswag
from llm_jax.scoring.likelihood import scorer
from train.__main__ import COMMANDS
from train.record.metrics import read

SMALL = (
    *("--d-model", "32", "--n-heads", "2", "--n-layers", "1", "--context-length", "32", "--batch-tokens", "512"),
    *("--eval-tokens", "512", "--sample-every", "0", "--eval-every", "2", "--steps", "4", "--warmup-steps", "1"),
    *("--fsdp", "4", "--tensor-parallel", "2"),
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hellaswag")
    (folder / "text.txt").write_text("Jumping: the quick brown fox Jumps over the lazy dog, and then some\n" * 200)
    rows = [
        {
            "activity_label": "Jumping",
            "ctx_a": f"the {animal}",
            "ctx_b": "jumps",
            "endings": ["over the dog", "and then over the lazy fox", "some", "over the quick brown lazy dog"],
            "label": str(number % 4),
        }
        for number, animal in enumerate(["fox", "dog", "quick fox", "brown dog", "lazy fox", "lazy dog"] * 3)
    ]
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def pretrain(*arguments) -> int:
    return front_door("python -m train", "", COMMANDS, ["pretrain", "shakespeare-char", *map(str, arguments)])


def test_accuracies_on_record_are_those_of_the_saved_model(files, tmp_path):
    where = ("--data", files / "text.txt", "--runs", tmp_path, "--run", "a", "--hellaswag", files / "items.jsonl")
    assert pretrain(*where, *SMALL, "--hellaswag-items", "14") == 0
    lines = list(read(tmp_path / "a"))
    names = ("hellaswag_sum", "hellaswag_token_mean", "hellaswag_character", "hellaswag_byte")
    assert [line["step"] for line in lines if set(names) <= set(line)] == [2, 4]
    model = load_run(tmp_path / "a")
    items = hellaswag.read_items(files / "items.jsonl", limit=14)
    call = scorer(model.params, model.config, decoder.make_plan(Execution(dtype="float32")))
    found = hellaswag.evaluate(items, model.tokenizer, call, model.config.context_length)
    assert [lines[-1][name] for name in names] == [found[name].value for name in hellaswag.CONVENTIONS]
    assert lines[-1]["hellaswag_sum"] != lines[-1]["hellaswag_character"]  # else any convention would pass


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--hellaswag", "nowhere.jsonl"], "data file nowhere.jsonl does not exist"),
        (["--hellaswag", "{folder}/text.txt"], "data files are .parquet, .jsonl, .json; got '.txt'"),
        (["--hellaswag", "{folder}/foreign.jsonl"], "'é' (U+00E9)"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_before_training(files, tmp_path, capsys, flags, message):
    row = {"activity_label": "é", "ctx": "fox", "endings": ["dog", "fox"], "label": 0}
    (files / "foreign.jsonl").write_text(json.dumps(row) + "\n")
    flags = [flag.format(folder=files) for flag in flags]
    assert pretrain("--data", files / "text.txt", "--runs", tmp_path, "--run", "b", *SMALL, *flags) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "b" / "metrics.jsonl").exists()
