"""`train tokenizer`: each algorithm from text to a folder that `prepare` and `pretrain` take by its path."""

import json

import pytest

from llm_jax.command_line import front_door
from llm_jax.tokenizer import load
from train.commands import COMMANDS
from train.data import manifest as manifests

TEXT = "".join(f"The cat number {number} sat on the mat, and the dog ran after it.\n" for number in range(300))
EXTRA = {"bpe": [], "unigram": [], "wordpiece": [], "sentencepiece": ["--kind", "bpe", "--form", "sentencepiece"]}


def run(*arguments: str) -> int:
    return front_door.run("train", "", COMMANDS, [*map(str, arguments)])


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.mark.parametrize("kind", EXTRA)
def test_a_tokenizer_is_trained_reported_and_taken_by_prepare(kind, text, tmp_path, capsys):
    flags = EXTRA[kind] or ["--kind", kind]
    out = tmp_path / "made"
    size = {"wordpiece": 90, "unigram": 320}.get(kind, 330)
    assert run("tokenizer", "--source", text, "--out", out, "--vocab-size", size, "--processes", "1", *flags) == 0
    shown = capsys.readouterr().out
    assert "bytes a token" in shown
    assert "next: python -m train prepare" in shown
    tokenizer, report = load(out), json.loads((out / "report.json").read_text())
    assert tokenizer.vocab_size == size == report["vocab_size"]
    assert report["fingerprint"] == tokenizer.fingerprint
    assert report["tokens"] == len(tokenizer.encode(TEXT))
    assert (out / "tokenizer.model").exists() == (kind in ("unigram", "sentencepiece"))
    if kind != "wordpiece":  # which is without capitals
        assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT
        assert report["texts_that_decoding_changes"] == 0
    (tmp_path / "more.txt").write_text(TEXT)
    sources = (text, tmp_path / "more.txt")
    assert run("prepare", "--source", *sources, "--out", tmp_path / "data", "--tokenizer", out, "--processes", "1") == 0
    manifest = manifests.read(tmp_path / "data")
    assert manifest.tokenizer.vocab_size == size
    assert load(tmp_path / "data").fingerprint == tokenizer.fingerprint


def test_rows_of_jsonl_are_learnt_from_as_prepare_reads_them(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"story": line}) + "\n" for line in TEXT.splitlines()))
    out = tmp_path / "made"
    assert run("tokenizer", "--source", rows, "--text-column", "story", "--out", out, "--vocab-size", "300") == 0
    report = json.loads((out / "report.json").read_text())
    assert report["learnt_from"]["documents"] == 300


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--vocab-size", "100"], "vocab_size must be at least 257"),
        (["--vocab-size", "0"], "--vocab-size must be at least 1; got 0"),
        (["--kind", "unigram", "--vocab-size", "90000"], "the texts have pieces for"),
        (["--kind", "unigram", "--coverage", "0.5"], "--coverage must be at least 0.98"),
        (["--kind", "wordpiece", "--form", "sentencepiece"], "--form sentencepiece is for bpe"),
        (["--megabytes", "nan"], "--megabytes must be above 0"),
        (["--vocab-size", "99999999999"], "--vocab-size 99999999999"),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line_and_leaves_nothing(flags, message, text, tmp_path, capsys):
    out = tmp_path / "made"
    assert run("tokenizer", "--source", text, "--out", out, *flags) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_a_folder_that_is_there_is_not_written_over(text, tmp_path, capsys):
    (tmp_path / "kept.txt").write_text("mine")
    assert run("tokenizer", "--source", text, "--out", tmp_path, "--vocab-size", "300") == 2
    assert "is there already and would be lost" in capsys.readouterr().err
    assert (tmp_path / "kept.txt").read_text() == "mine"
