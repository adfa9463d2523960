"""`train prepare`: the right tokens in the right shards, whatever the processes, and nothing twice."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from rich.console import Console

from llm_jax.command_line import run
from llm_jax.tokenizer.pretrained import load
from train.__main__ import COMMANDS
from train.data.integrity import open_data
from train.data.manifest import Manifest
from train.data.preparation import prepare
from train.data.shards import open_tokens
from train.prepare import Options


@pytest.fixture
def options(tmp_path, json_lines, small_tokenizer):
    """Options for the small corpus, in units of a few documents; keyword arguments change them."""

    def build(**changes) -> Options:
        base = {
            "source": (str(json_lines),),
            "out": tmp_path / "data",
            "tokenizer": str(small_tokenizer),
            "shard_tokens": 3000,
            "processes": 1,
            "unit_megabytes": 0.002,
        }
        return Options(**base | changes)

    return build


def tokens_of(manifest: Manifest, split: str) -> list[int]:
    return np.concatenate([open_tokens(manifest.path(shard)) for shard in manifest.of_split(split)]).tolist()


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_document_is_preceded_by_end_of_text_and_none_is_lost(options, documents, small_tokenizer):
    tokenizer = load(small_tokenizer)
    manifest = prepare(options())
    expected = [token for text in documents for token in [tokenizer.end_of_text, *tokenizer.encode(text)]]
    assert tokens_of(manifest, "val") + tokens_of(manifest, "train") == expected


def test_text_that_spells_end_of_text_does_not_end_the_document(options, tmp_path, small_tokenizer):
    tokenizer = load(small_tokenizer)
    path = tmp_path / "trick.jsonl"
    path.write_text(json.dumps({"text": "a <|endoftext|> b"}) + "\n" + json.dumps({"text": "c"}) + "\n")
    tokens = tokens_of(prepare(options(source=(str(path),), val_fraction=0.0)), "train")
    assert tokens.count(tokenizer.end_of_text) == 2


def test_shards_are_exact_and_the_first_is_validation(options):
    """llm.c's rule, for a corpus whose validation documents are more than a shard."""
    manifest = prepare(options(val_fraction=0.5))
    assert [shard.name for shard in manifest.shards][:3] == ["val_000000.bin", "train_000001.bin", "train_000002.bin"]
    assert [shard.split for shard in manifest.shards] == ["val"] + ["train"] * (len(manifest.shards) - 1)
    assert {shard.tokens for shard in manifest.shards[:-1]} == {3000}
    assert 0 < manifest.shards[-1].tokens <= 3000


def test_a_small_corpus_gives_the_first_tenth_of_its_documents_to_validation(options, documents, small_tokenizer):
    tokenizer = load(small_tokenizer)
    manifest = prepare(options(shard_tokens=10**6))
    expected = [token for text in documents[:6] for token in [tokenizer.end_of_text, *tokenizer.encode(text)]]
    assert tokens_of(manifest, "val") == expected
    assert len(manifest.shards) == 2


def test_the_manifest_counts_documents_bytes_and_tokens(options, documents):
    manifest = prepare(options(shard_tokens=10**6))
    sizes = [len(text.encode()) for text in documents]
    assert manifest.splits["val"].documents == 6
    assert manifest.splits["val"].bytes == sum(sizes[:6])
    assert manifest.splits["train"].documents == 54
    assert manifest.splits["train"].bytes == sum(sizes[6:])
    for name, split in manifest.splits.items():
        assert split.tokens == len(tokens_of(manifest, name))
    tokenizer = load(manifest.folder)
    assert (manifest.tokenizer.fingerprint, manifest.tokenizer.vocab_size) == (tokenizer.fingerprint, 300)


def test_bytes_are_right_where_a_document_straddles_the_border(options, documents, small_tokenizer):
    tokenizer = load(small_tokenizer)
    manifest = prepare(options(val_fraction=0.5, shard_tokens=777))
    text = tokenizer.decode_bytes(tokens_of(manifest, "val")).replace(b"<|endoftext|>", b"")
    assert manifest.splits["val"].bytes == len(text)
    assert manifest.splits["val"].bytes + manifest.splits["train"].bytes == sum(len(t.encode()) for t in documents)


def test_the_result_does_not_depend_on_the_number_of_processes_or_units(options, tmp_path):
    one = prepare(options())
    two = prepare(options(out=tmp_path / "two", processes=2))
    large_units = prepare(options(out=tmp_path / "large", unit_megabytes=10))
    assert files_of(one.folder) == files_of(two.folder) == files_of(large_units.folder)


def test_a_finished_folder_is_left_as_it_is(options, capsys):
    manifest = prepare(options())
    before = {path: path.stat().st_mtime_ns for path in manifest.folder.iterdir()}
    assert not (manifest.folder / ".prepare").exists()
    assert prepare(options(processes=2), Console()) == manifest
    assert "is prepared already: nothing to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in manifest.folder.iterdir()} == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shard_tokens": 4000}, "shard_tokens: 3000 there, 4000 now"),
        ({"val_fraction": 0.2}, "val_fraction: 0.1 there, 0.2 now"),
        ({"text_column": "id"}, "input.text_column: 'text' there, 'id' now"),
        (
            {"tokenizer": "characters"},
            "tokenizer: '.*' there, 'characters' now; tokenizer_fingerprint: '.*' there, None",
        ),
    ],
)
def test_other_options_on_a_folder_are_refused_with_both_values(options, changes, message):
    prepare(options())
    with pytest.raises(ValueError, match=f"was finished with other input or options \\({message}"):
        prepare(options(**changes))


def test_changed_input_on_a_folder_is_refused(options, json_lines):
    prepare(options())
    json_lines.write_text(json_lines.read_text() + '{"text": "more"}\n')
    with pytest.raises(ValueError, match=r"input\.bytes: \d+ there, \d+ now; input\.names_and_sizes"):
        prepare(options())


def test_a_folder_with_shards_of_others_is_refused_and_left_alone(options, shard_folder):
    folder = shard_folder(train_000001=[1, 2])
    before = files_of(folder)
    with pytest.raises(ValueError, match=r"holds train_000001\.bin \(1 shards\) and no manifest\.json"):
        prepare(options(out=folder))
    assert files_of(folder) == before
    assert open_data(folder).shards


def test_two_runs_at_once_on_a_folder_are_refused(options, tmp_path):
    (tmp_path / "data" / ".prepare").mkdir(parents=True)
    with (
        FileLock(tmp_path / "data" / ".prepare" / "lock"),
        pytest.raises(ValueError, match="another process is preparing"),
    ):
        prepare(options())


def test_an_error_in_the_text_names_its_place_and_leaves_no_shard(options, json_lines, small_tokenizer):
    lines = json_lines.read_text().splitlines()
    lines[40] = '{"text": "half a character: \\ud83d"}'
    json_lines.write_text("\n".join(lines) + "\n")
    for processes in (1, 2):
        with pytest.raises(ValueError, match=rf"{json_lines}:41: lone surrogate U\+D83D at position 18"):
            prepare(options(processes=processes))
    assert not list(options().out.glob("*.bin"))
    with pytest.raises(ValueError, match="interrupted; run the same"):
        open_data(options().out)


def test_an_error_before_any_work_leaves_no_folder(options, json_lines):
    for changes in ({"text_column": "body"}, {"tokenizer": "train:many"}, {"tokenizer": "train:70000"}):
        with pytest.raises(ValueError, match=r"no column 'body'|expected a number of ids|at most 65,536 ids"):
            prepare(options(**changes))
        assert not options().out.exists()


@pytest.mark.parametrize(
    ("content", "tokenizer", "message"),
    [
        ("", "small", "no text in the 0 documents"),
        ('{"text": ""}\n{"text": ""}\n', "small", "no text in the 2 documents"),
        ('{"text": ""}\n', "characters", "no characters to make a tokenizer of"),
        ('{"text": "only one"}\n', "small", r"nothing is left for training: (\d+) of \1 tokens, in 1 documents"),
    ],
)
def test_too_little_text_is_refused_and_may_be_mended(options, json_lines, documents, content, tokenizer, message):
    whole = json_lines.read_text()
    changes = {} if tokenizer == "small" else {"tokenizer": tokenizer}
    json_lines.write_text(content)
    with pytest.raises(ValueError, match=message):
        prepare(options(**changes))
    json_lines.write_text(whole)
    assert prepare(options(**changes)).splits["train"].documents == 54


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shard_tokens": 0}, "--shard-tokens must be at least 1; got 0"),
        ({"val_fraction": 1.0}, "--val-fraction must be at least 0 and below 1; got 1.0"),
        ({"processes": -1}, "--processes must be at least 1, or 0 for one per core; got -1"),
        ({"unit_megabytes": 0.0}, "--unit-megabytes must be above 0; got 0.0"),
    ],
)
def test_options_out_of_range_are_refused(options, changes, message):
    with pytest.raises(ValueError, match=message):
        prepare(options(**changes))


def test_a_vocabulary_that_two_bytes_cannot_hold_is_refused(options, monkeypatch):
    from llm_jax.tokenizer import pretrained
    from llm_jax.tokenizer.characters import CharacterTokenizer

    huge = CharacterTokenizer([chr(number) for number in range(0x10000, 0x10000 + 70_000)])
    monkeypatch.setattr(pretrained, "load", lambda _: huge)
    with pytest.raises(ValueError, match="70,000 ids; token shards hold two bytes a token, at most 65,536 ids"):
        prepare(options(tokenizer="cl100k_base"))


def test_a_tokenizer_is_trained_on_the_training_documents_alone(options, tmp_path):
    """The validation documents consist of a word that no other has: none of its pairs may have been merged."""
    path = tmp_path / "c.jsonl"
    texts = ["zqzqzqzq " * 50] * 2 + ["hello world " * 50] * 18
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    manifest = prepare(options(source=(str(path),), tokenizer="train:262"))
    assert manifest.splits["val"].documents == 2
    tokenizer = load(manifest.folder)
    assert tokenizer.vocab_size == 262
    assert len(tokenizer.encode("zqzq")) == 4
    assert len(tokenizer.encode("hello")) < 5


def test_one_text_file_is_a_running_text_with_its_end_for_validation(options, tmp_path):
    text = "".join(f"line {i}: où, naïve\n" for i in range(500))
    path = tmp_path / "t.txt"
    path.write_text(text)
    manifest = prepare(options(source=(str(path),), tokenizer="characters", unit_megabytes=0.001))
    tokenizer = load(manifest.folder)
    assert tokenizer.decode(tokens_of(manifest, "train")) == text[: int(len(text) * 0.9)]
    assert tokenizer.decode(tokens_of(manifest, "val")) == text[int(len(text) * 0.9) :]
    assert manifest.splits["val"].bytes == len(text[int(len(text) * 0.9) :].encode())


def test_a_hugging_face_dataset_gives_what_its_files_give(options, tmp_path, documents):
    (tmp_path / "set").mkdir()
    pq.write_table(pa.table({"text": documents}), tmp_path / "set" / "a.parquet", row_group_size=9)
    streamed = prepare(options(source=(f"hf:{tmp_path / 'set'}",), out=tmp_path / "streamed"))
    from_files = prepare(options(source=(str(tmp_path / "set" / "*.parquet"),), out=tmp_path / "from_files"))
    assert streamed.shards == from_files.shards == prepare(options()).shards
    with pytest.raises(ValueError, match=r"is a stream\. Train on local files first"):
        prepare(options(source=(f"hf:{tmp_path / 'set'}",), out=tmp_path / "x", tokenizer="train:300"))


def test_the_command_line_reports_and_fails_as_it_should(options, tmp_path, json_lines, small_tokenizer, capsys):
    out = tmp_path / "data"
    arguments = ["prepare", "--source", str(json_lines), "--out", str(out), "--tokenizer", str(small_tokenizer)]
    assert run("python -m train", "", COMMANDS, [*arguments, "--processes", "1"]) == 0
    assert f"next: python -m train pretrain gpt2-nano --data {out}" in capsys.readouterr().out
    assert run("python -m train", "", COMMANDS, ["verify", str(out)]) == 0
    (out / "train_000001.bin").write_bytes(b"")
    assert run("python -m train", "", COMMANDS, ["verify", str(out)]) == 1
    assert run("python -m train", "", COMMANDS, [*arguments, "--shard-tokens", "5"]) == 2
    assert "shard_tokens: 100000000 there, 5 now" in capsys.readouterr().err


def test_a_full_disk_or_unwritable_folder_is_named(options, monkeypatch, tmp_path):
    import errno
    import os

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"cannot write .*: No space left on device; free some space"):
            prepare(options())
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot make the folder .*: Not a directory; choose an --out"):
        prepare(options(out=tmp_path / "file" / "data"))
    assert prepare(options()).shards


def test_tinyshakespeare_has_the_published_number_of_gpt2_tokens(options, shared_data):
    """301,966 and 36,059: nanoGPT, data/shakespeare/readme.md."""
    manifest = prepare(
        options(source=(str(shared_data / "text/tinyshakespeare.txt"),), tokenizer="gpt2", shard_tokens=10**8)
    )
    assert {name: split.tokens for name, split in manifest.splits.items()} == {"train": 301_966, "val": 36_059}


def test_tinyshakespeare_has_the_published_number_of_characters(options, shared_data):
    """65 characters, 1,003,854 and 111,540 tokens: nanoGPT, data/shakespeare_char/readme.md."""
    source = (str(shared_data / "text/tinyshakespeare.txt"),)
    manifest = prepare(options(source=source, tokenizer="characters", shard_tokens=10**8))
    assert {name: split.tokens for name, split in manifest.splits.items()} == {"train": 1_003_854, "val": 111_540}
    assert manifest.tokenizer.vocab_size == 65


def test_fineweb_schema_parquet_is_prepared_as_tiktoken_would(options, shared_data):
    import tiktoken

    path = shared_data / "text/fineweb_schema_wikitext2.parquet"
    manifest = prepare(options(source=(str(path),), tokenizer="gpt2", shard_tokens=10**8))
    encoding = tiktoken.get_encoding("gpt2")
    texts = pq.read_table(path, columns=["text"]).column("text").to_pylist()
    expected = [token for text in texts for token in [50256, *encoding.encode_ordinary(text)]]
    assert tokens_of(manifest, "val") + tokens_of(manifest, "train") == expected
    assert manifest.splits["val"].documents == 12
