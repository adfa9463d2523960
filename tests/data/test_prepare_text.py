"""`prepare`: documents without text, texts that spell special tokens, divided text, splits without text."""

import gzip
import json
import logging
from pathlib import Path

import numpy as np
import pytest

from llm_jax.command_line import run
from llm_jax.tokenizer.pretrained import load
from train.__main__ import COMMANDS
from train.data import manifest as manifests
from train.data.manifest import Manifest
from train.data.shards import open_tokens
from train.prepare.config import PrepareConfig
from train.prepare.preparation import prepare


@pytest.fixture
def options(tmp_path, small_tokenizer):
    def build(*names: Path, **changes) -> PrepareConfig:
        base = {"out": tmp_path / "data", "tokenizer": str(small_tokenizer), "processes": 1, "val_fraction": 0.0}
        return PrepareConfig(source=tuple(map(str, names)), **base | changes)

    return build


def tokens_of(manifest: Manifest, split: str = "train") -> list[int]:
    return np.concatenate([open_tokens(manifest.path(shard)) for shard in manifest.of_split(split)]).tolist()


def lines(path: Path, *texts: str) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


@pytest.mark.parametrize("tokenizer", ["small", "characters", "train:270"])
@pytest.mark.parametrize("processes", [1, 2])
def test_documents_without_text_are_dropped_and_counted(options, tmp_path, tokenizer, processes, documents):
    texts = [documents[0], "", " \n\t", documents[1], "\u3000\xa0", "\ufeff", *documents[2:6]]
    changes: dict = {} if tokenizer == "small" else {"tokenizer": tokenizer}
    changes |= {"border": "none"} if tokenizer == "characters" else {}
    changes |= {"processes": processes, "unit_megabytes": 0.0005, "val_fraction": 0.1}
    manifest = prepare(options(lines(tmp_path / "a.jsonl", *texts), **changes))
    other = prepare(options(lines(tmp_path / "b.jsonl", *documents[:6]), **changes | {"out": tmp_path / "other"}))
    assert manifest.shards == other.shards
    assert (manifest.left_out, other.left_out) == ({"documents without text": 4}, {})
    assert manifests.read(manifest.folder) == manifest
    assert "left_out" not in (other.folder / "manifest.json").read_text()


def test_what_was_dropped_is_shown(options, tmp_path, capsys):
    source = lines(tmp_path / "a.jsonl", "some text", "", "other text")
    arguments = ["prepare", "--source", str(source), "--out", str(tmp_path / "d"), "--tokenizer", "characters"]
    arguments += ["--border", "none"]
    assert run("python -m train", "", COMMANDS, arguments) == 0
    assert "left out, documents without text: 1" in capsys.readouterr().out


def test_validation_is_the_first_documents_that_hold_text(options, tmp_path):
    """The first tenth was empty, and the loss on nothing was reported."""
    manifest = prepare(options(lines(tmp_path / "a.jsonl", *[""] * 5, "first", "second"), val_fraction=0.1))
    tokenizer = load(manifest.folder)
    assert tokenizer.decode(tokens_of(manifest, "val")) == "<|endoftext|>first"


@pytest.mark.parametrize(
    ("text", "split"),
    [("words of a text " * 20 + "\n" * 200, "validation"), ("\n" * 300 + "words", "training")],
)
def test_a_split_without_text_is_refused_with_the_cure(options, tmp_path, text, split):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(ValueError, match=rf"tokens for {split} hold no text \(white space alone\).*--val-fraction"):
        prepare(options(tmp_path / "a.txt", val_fraction=0.1))
    assert not (tmp_path / "data").exists()
    if split == "validation":
        assert prepare(options(tmp_path / "a.txt")).splits["train"].tokens


def test_a_validation_shard_that_holds_no_more_than_a_border_is_refused(options, tmp_path):
    with pytest.raises(ValueError, match="tokens for validation hold no text"):
        prepare(options(lines(tmp_path / "a.jsonl", "one", "two"), val_fraction=0.5, shard_tokens=1))


@pytest.mark.parametrize("packed", [False, True])
def test_divided_text_has_borders_where_its_separators_were(options, tmp_path, packed, caplog):
    text = "One.\n<|endoftext|>\nTwo.\n<|endoftext|>\n\n<|endoftext|>Three."
    (tmp_path / "a.txt").write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    manifest = prepare(options(tmp_path / "a.txt", document_separator="<|endoftext|>"))
    tokenizer = load(manifest.folder)
    expected = [
        token for text in ("One.", "Two.", "Three.") for token in [tokenizer.end_of_text, *tokenizer.encode(text)]
    ]
    assert tokens_of(manifest) == expected
    assert (manifest.splits["train"].documents, manifest.left_out) == (3, {"documents without text": 1})
    assert not caplog.records
    with pytest.raises(ValueError, match=r"input.separator: '<\|endoftext\|>' there, '###' now"):
        prepare(options(tmp_path / "a.txt", document_separator="###"))


@pytest.mark.parametrize("processes", [1, 2])
def test_text_that_spells_a_special_token_is_said_once_with_the_file_and_the_flag(options, tmp_path, caplog, processes):
    changes = {"processes": processes, "unit_megabytes": 0.00005}
    (tmp_path / "a.txt").write_text("One story.\n<|endoftext|>\nAnother story, of a river.\n" * 9)
    with caplog.at_level(logging.WARNING):
        prepare(options(tmp_path / "a.txt", **changes))
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'a.txt'}: the text spells the special token <|endoftext|>, which becomes ordinary tokens; "
        "if it separates documents, give prepare --document-separator '<|endoftext|>'"
    ]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        prepare(options(lines(tmp_path / "a.jsonl", "x<|endoftext|>", "y", "<|endoftext|>"), out=tmp_path / "b"))
    assert "a.jsonl: 2 documents spell the special token <|endoftext|>" in caplog.text


@pytest.mark.parametrize("kind", ["running", "documents", "lines"])
def test_a_byte_order_mark_is_no_token(options, tmp_path, kind):
    marked, plain = tmp_path / "marked", tmp_path / "plain"
    for folder, mark in ((marked, "\ufeff"), (plain, "")):
        folder.mkdir()
        if kind == "lines":
            lines(folder / "a.jsonl", f"{mark}one", f"{mark}two")
        else:
            for name in ("a.txt", "b.txt")[: 1 + (kind == "documents")]:
                (folder / name).write_text(f"{mark}some text")
    one, two = (prepare(options(folder, out=tmp_path / f"{folder.name}-out")) for folder in (marked, plain))
    assert one.shards == two.shards
