"""`train prepare`: the right tokens in the right shards, whatever the processes, and nothing twice."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from rich.console import Console

from llm_jax.command_line import run
from llm_jax.tokenizer import BytePairTokenizer, CharacterTokenizer
from llm_jax.tokenizer.pretrained import load
from train.__main__ import COMMANDS
from train.data.integrity import NOTES, open_data
from train.data.manifest import Manifest
from train.data.shards import open_tokens
from train.prepare.config import PrepareConfig
from train.prepare.preparation import prepare, prepare_share


@pytest.fixture
def options(tmp_path, json_lines, small_tokenizer):
    """PrepareConfig for the small corpus, in units of a few documents; keyword arguments change them."""

    def build(**changes) -> PrepareConfig:
        base = {
            "source": (str(json_lines),),
            "out": tmp_path / "data",
            "tokenizer": str(small_tokenizer),
            "shard_tokens": 3000,
            "processes": 1,
            "unit_megabytes": 0.002,
        }
        return PrepareConfig(**base | changes)

    return build


def tokens_of(manifest: Manifest, split: str) -> list[int]:
    return np.concatenate([open_tokens(manifest.path(shard)) for shard in manifest.of_split(split)]).tolist()


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_document_is_preceded_by_end_of_text_and_none_is_lost(options, documents, small_tokenizer):
    tokenizer = load(small_tokenizer)
    manifest = prepare(options())
    expected = [token for text in documents if text for token in [tokenizer.end_of_text, *tokenizer.encode(text)]]
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
    expected = [token for text in documents[:5] for token in [tokenizer.end_of_text, *tokenizer.encode(text)]]
    assert tokens_of(manifest, "val") == expected
    assert len(manifest.shards) == 2


def test_the_manifest_counts_documents_bytes_and_tokens(options, documents):
    manifest = prepare(options(shard_tokens=10**6))
    sizes = [len(text.encode()) for text in documents]
    assert manifest.splits["val"].documents == 5
    assert manifest.splits["val"].bytes == sum(sizes[:5])
    assert manifest.splits["train"].documents == 54  # of 60, one is empty
    assert manifest.splits["train"].bytes == sum(sizes[5:])
    assert manifest.left_out == {"documents without text": 1}
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
    (manifest.folder / NOTES).unlink()  # the shards were looked at
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


@pytest.mark.parametrize("tokenizer", ["small", "train:280"])
@pytest.mark.parametrize("fault", ["missing", "truncated", "flipped", "tokenizer", "other tokenizer"])
def test_a_finished_folder_that_was_damaged_is_made_whole(options, capsys, tokenizer, fault):
    changes = {} if tokenizer == "small" else {"tokenizer": tokenizer, "border": "none"}
    folder = prepare(options(**changes)).folder
    whole = files_of(folder)
    shard = folder / "train_000001.bin"
    if fault == "missing":
        shard.unlink()
    elif fault == "truncated":
        os.truncate(shard, 1500)
    elif fault == "flipped":
        shard.write_bytes(whole[shard.name][:-1] + b"\x7f")
    elif fault == "tokenizer":
        (folder / "tokenizer.json").unlink()
    else:
        CharacterTokenizer.from_text("abc").save(folder)
    capsys.readouterr()
    prepare(options(**changes), Console())
    (folder / NOTES).unlink(missing_ok=True)
    assert files_of(folder) == whole
    only_the_tokenizer = fault == "tokenizer" and tokenizer == "small"  # whose text need not be read again
    assert ("is prepared again" in capsys.readouterr().out) != only_the_tokenizer


def test_a_file_edited_while_tasks_share_the_work_is_refused_and_one_process_reads_it_anew(options, json_lines):
    prepare_share(replace(options(), task=0, tasks=2))
    text = json_lines.read_text()
    json_lines.write_text(text.replace("stone", "stony"))
    with pytest.raises(ValueError, match=rf"{json_lines}: edited since the preparation of .* began \(1 of 1 input"):
        prepare_share(replace(options(), task=1, tasks=2))
    fresh = prepare(options(out=options().out.with_name("fresh")))
    assert files_of(prepare(options()).folder) == files_of(fresh.folder)


def test_a_finished_folder_says_that_contents_were_not_compared(options, capsys):
    prepare(options())
    prepare(options(), Console())
    assert "same names and sizes; contents were not compared" in " ".join(capsys.readouterr().out.split())


def test_a_damaged_part_is_named_and_removed_and_the_same_command_heals(options, monkeypatch):
    expected = files_of(prepare(options(out=options().out.with_name("whole"))).folder)
    prepare_share(replace(options(), task=0, tasks=1))
    parts = sorted((options().out / ".prepare/parts").iterdir())
    os.truncate(parts[2], 700)
    parts[3].write_bytes(parts[3].read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"{parts[2]}: damaged part, removed .*; run the same command again"):
        prepare(options())
    with pytest.raises(ValueError, match=rf"{parts[3]}: damaged part, removed"):
        prepare(options())
    assert files_of(prepare(options()).folder) == expected


def test_a_shard_changed_before_the_manifest_is_written_is_not_recorded_as_sound(options, monkeypatch):
    expected = files_of(prepare(options(out=options().out.with_name("whole"))).folder)
    with monkeypatch.context() as patch:
        patch.setattr(Manifest, "save", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prepare(options())
    for name, change in (("val_000000.bin", slice(None, -2)), ("train_000001.bin", slice(2, None))):
        path = options().out / name
        path.write_bytes(path.read_bytes()[change])
    path = options().out / "train_000002.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    assert files_of(prepare(options()).folder) == expected


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
    for changes in ({}, {"processes": 2}):
        with pytest.raises(ValueError, match=rf"{json_lines}:41: lone surrogate U\+D83D at position 18"):
            prepare(options(**changes))
    assert not list(options().out.glob("*.bin"))
    with pytest.raises(ValueError, match="interrupted; run the same"):
        open_data(options().out)


@pytest.mark.parametrize("tokenizer", ["train:300", "characters"])
def test_half_a_character_is_named_with_its_place_where_the_tokenizer_is_made_of_the_text(
    options, json_lines, tokenizer
):
    lines = json_lines.read_text().splitlines()
    lines[40] = '{"text": "half a character: \\ud83d"}'
    json_lines.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=rf"{json_lines}:41: lone surrogate U\+D83D at position 18"):
        prepare(options(tokenizer=tokenizer, border="none"))


def test_documents_of_one_character_each_are_text(options, json_lines):
    json_lines.write_text("".join(json.dumps({"text": "ab"[i % 2]}) + "\n" for i in range(40)))
    manifest = prepare(options(tokenizer="characters", border="none"))
    assert {name: (split.documents, split.tokens) for name, split in manifest.splits.items()} == {
        "val": (4, 4),
        "train": (36, 36),
    }


def test_a_tokenizer_with_unused_ids_prepares_as_any_other(options, documents, tmp_path):
    ranks = {bytes([byte]): byte for byte in range(256)}
    BytePairTokenizer(ranks, special_tokens={"<|endoftext|>": 400}).save(tmp_path / "gap")
    manifest = prepare(options(tokenizer=str(tmp_path / "gap")))
    assert manifest.tokenizer.vocab_size == 401
    assert sum(split.bytes or 0 for split in manifest.splits.values()) == sum(len(t.encode()) for t in documents)


def test_an_error_before_any_work_leaves_no_folder(options, json_lines):
    for changes in ({"text_column": "body"}, {"tokenizer": "train:many"}, {"tokenizer": "train:2147483649"}):
        with pytest.raises(
            ValueError, match=r"no column 'body'|expected a number of ids|at most 2,147,483,648, in four"
        ):
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
    changes = {} if tokenizer == "small" else {"tokenizer": tokenizer, "border": "none"}
    json_lines.write_text(content)
    with pytest.raises(ValueError, match=message):
        prepare(options(**changes))
    json_lines.write_text(whole)
    assert prepare(options(**changes)).splits["train"].documents == 54


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shard_tokens": 0}, "--shard-tokens must be at least 1 and at most 2147483647, .*; got 0"),
        ({"shard_tokens": 2**31}, "--shard-tokens must be .* at most 2147483647, .* can hold; got 2147483648"),
        ({"val_fraction": 1.0}, "--val-fraction must be at least 0 and below 1; got 1.0"),
        ({"processes": -1}, "--processes must be at least 1, or 0 for one per core; got -1"),
        ({"unit_megabytes": 0.0}, "--unit-megabytes must be above 0 and finite; got 0.0"),
        ({"unit_megabytes": float("inf")}, "--unit-megabytes must be above 0 and finite; got inf"),
        ({"unit_megabytes": float("nan")}, "--unit-megabytes must be above 0 and finite; got nan"),
    ],
)
def test_options_out_of_range_are_refused(options, changes, message):
    with pytest.raises(ValueError, match=message):
        prepare(options(**changes))


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
    assert manifest.splits["val"].documents == manifest.splits["train"].documents == 1
    whole = prepare(options(source=(str(path),), out=tmp_path / "one unit", tokenizer="characters", unit_megabytes=1.0))
    assert files_of(whole.folder) == files_of(manifest.folder)


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
