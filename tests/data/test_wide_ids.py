"""Shards of four bytes a token, for vocabularies over 65,536: llm.c's own format, from text to batches."""

import json
import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_jax.tokenizer import Borders, CharacterTokenizer
from llm_jax.tokenizer.pretrained import load
from train.data import manifest as manifests
from train.data.config import VerifyConfig
from train.data.integrity import open_data, verify
from train.data.loader import TokenBatches
from train.data.shards import FORMATS, ShardError, dtype_for, fitted, open_tokens, write_header
from train.prepare.config import PrepareConfig
from train.prepare.preparation import prepare, prepare_share
from train.pretrain.config import RunOptions, TrainConfig
from train.pretrain.inputs import open_inputs

WIDE = {"magic": 20240801, "version": 7, "width": "I"}
LARGE = 128_255  # Llama 3's last id


@pytest.fixture(scope="session")
def wide_tokenizer(tmp_path_factory, documents) -> Path:
    """A tokenizer of 70,001 ids in which every second character of the documents has one above 65,535."""
    characters = sorted(set("".join(documents)))
    others = [chr(number) for number in range(0x20000, 0x20000 + 70_000 - len(characters))]
    folder = tmp_path_factory.mktemp("wide")
    alphabet = [*characters[::2], *others, *characters[1::2]]
    CharacterTokenizer(alphabet, "wide", Borders.of_one(70_000), {"<|endoftext|>": 70_000}).save(folder)
    return folder


@pytest.fixture
def options(tmp_path, json_lines, wide_tokenizer):
    def build(name: str = "data", **changes) -> PrepareConfig:
        base = PrepareConfig(
            source=(str(json_lines),),
            out=tmp_path / name,
            tokenizer=str(wide_tokenizer),
            shard_tokens=10_000,
            processes=1,
            unit_megabytes=0.004,
        )
        return replace(base, **changes)

    return build


@pytest.fixture
def wide_folder(tmp_path, shard_bytes) -> Path:
    """As llm.c's dev/data scripts leave it with `-m llama-3`."""
    folder = tmp_path / "llama3"
    folder.mkdir()
    (folder / "tiny_val.bin").write_bytes(shard_bytes([1, 2, 3], **WIDE))
    (folder / "tiny_train.bin").write_bytes(shard_bytes([128_000, 65_536, 5, LARGE], **WIDE))
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name[0] != "."}


@pytest.mark.parametrize(
    ("vocab_size", "dtype"),
    [(1, "uint16"), (50_257, "uint16"), (65_536, "uint16"), (65_537, "uint32"), (128_256, "uint32"), (2**31, "uint32")],
)
def test_the_width_follows_from_the_vocabulary_at_its_very_border(vocab_size, dtype):
    assert dtype_for(vocab_size) == dtype
    assert fitted(np.array([0, vocab_size - 1], np.uint32), vocab_size).tolist() == [0, vocab_size - 1]
    with pytest.raises(
        ValueError, match=rf"token id {vocab_size:,}; expected ids below the vocabulary's {vocab_size:,}"
    ):
        fitted(np.array([0, vocab_size], np.uint32), vocab_size)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), vocab_size=st.sampled_from([2, 300, 50_257, 65_536, 65_537, 128_256, 2**31]))
def test_any_ids_come_back_as_they_were_written(tmp_path_factory, data, vocab_size):
    ids = data.draw(st.lists(st.integers(0, vocab_size - 1), min_size=1, max_size=50))
    path = tmp_path_factory.mktemp("shard") / "x.bin"
    with path.open("wb") as file:
        write_header(file, len(ids), dtype_for(vocab_size))
        file.write(fitted(np.array(ids, np.uint32), vocab_size).tobytes())
    assert open_tokens(path).tolist() == ids
    assert path.stat().st_size == 1024 + len(ids) * (2 if vocab_size <= 65_536 else 4)


def test_a_wide_shard_is_byte_for_byte_what_llm_c_writes(tmp_path):
    """The bytes are spelt out: dev/data/data_common.py, HEADERS_INFO["llama-3"]."""
    ids = [128_000, 0, 65_535, 65_536, LARGE]
    llmc = struct.pack("<256i", 20240801, 7, 5, *[0] * 253) + struct.pack("<5I", *ids)
    path = tmp_path / "x.bin"
    path.write_bytes(llmc)
    assert open_tokens(path).tolist() == ids
    assert open_tokens(path).dtype == np.uint32
    with (tmp_path / "ours.bin").open("wb") as file:
        write_header(file, 5, "uint32")
        file.write(fitted(np.array(ids, np.uint32), 128_256).tobytes())
    assert (tmp_path / "ours.bin").read_bytes() == llmc


def test_llm_cs_folder_of_wide_shards_is_trained_on_as_llama_3s_ids(wide_folder, tmp_path):
    manifest = open_data(wide_folder)
    assert (manifest.dtype, manifest.tokenizer) == ("uint32", manifests.Tokenizer("unknown", None, 128_256))
    assert [verdict.fault for verdict in verify(wide_folder)] == ["", ""]
    assert TokenBatches(manifest, "train", 3, 1, seed=None).batch(0).tolist() == [[128_000, 65_536, 5, LARGE]]
    config = TrainConfig()
    assert open_inputs(RunOptions(data=wide_folder), config, tmp_path, False)[0] == manifest
    other = replace(config, model=replace(config.model, vocab_size=151_936))  # as --vocab-size 151936
    found, _ = open_inputs(RunOptions(data=wide_folder), other, tmp_path, False)
    assert found.tokenizer.vocab_size == 151_936
    with pytest.raises(
        ShardError, match=r"tiny_train\.bin: token id 128,255; expected ids below the vocabulary's 100,"
    ):
        open_data(wide_folder, 100_277)


def test_the_vocabulary_of_narrow_shards_does_not_follow_a_models(shard_folder, tmp_path):
    folder = shard_folder(train_000001=[1, 2, 50256])
    model = replace(TrainConfig().model, vocab_size=128_256)
    found, _ = open_inputs(RunOptions(data=folder), replace(TrainConfig(), model=model), tmp_path, False)
    assert (found.dtype, found.tokenizer.name, found.tokenizer.vocab_size) == ("uint16", "gpt2", 50_257)


def test_npy_arrays_of_four_bytes_are_read(tmp_path):
    np.save(tmp_path / "train.npy", np.array([LARGE, 0, 70_000], np.uint32))
    np.save(tmp_path / "val.npy", np.array([1, 2], np.uint32))
    manifest = open_data(tmp_path)
    assert (manifest.dtype, manifest.tokenizer.vocab_size) == ("uint32", 128_256)
    assert TokenBatches(manifest, "train", 2, 1, None).batch(0).tolist() == [[LARGE, 0, 70_000]]


def test_shards_of_two_widths_in_one_folder_are_refused_by_name(wide_folder, shard_bytes):
    (wide_folder / "tiny_train.bin").write_bytes(shard_bytes([1, 2, 3]))
    pattern = r"tiny_val\.bin: ids of uint32; expected uint16, as tiny_train\.bin has.*folder of their own"
    with pytest.raises(ShardError, match=pattern):
        open_data(wide_folder)
    (wide_folder / "tiny_aaa.bin").write_bytes(b"short")  # does not decide the type, nor hide the other fault
    faults = {verdict.name: verdict.fault for verdict in verify(wide_folder)}
    assert "5 bytes; expected a header" in faults["tiny_aaa.bin"]
    assert faults["tiny_train.bin"] == ""
    assert "ids of uint32; expected uint16" in faults["tiny_val.bin"]


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_a_shard_of_another_type_than_its_manifest_is_refused_by_name(options, shard_bytes, dtype):
    manifest = prepare(options() if dtype == "uint32" else options(tokenizer="characters", border="none"))
    assert manifest.dtype == dtype
    path = manifest.path(manifest.shards[0])
    other = {} if dtype == "uint32" else WIDE
    path.write_bytes(shard_bytes(open_tokens(path).astype(np.uint16), **other))
    found = "uint16" if dtype == "uint32" else "uint32"
    with pytest.raises(ShardError, match=rf"val_000000\.bin: ids of {found}; expected {dtype}, as in the manifest"):
        open_data(manifest.folder)
    assert [bool(verdict.fault) for verdict in verify(manifest.folder)][:2] == [True, False]
    fields = json.loads((manifest.folder / "manifest.json").read_text())
    assert fields["dtype"] == dtype


def test_bare_ids_of_two_bytes_are_not_read_as_four(tmp_path):
    np.arange(1, 101, dtype=np.uint16).tofile(tmp_path / "train.bin")
    with pytest.raises(ShardError, match=r"token id 6,553,699; .*two ids of two bytes.*--token-dtype uint16"):
        open_data(tmp_path, 50_257, bare="uint32")
    np.array([1, 2**31], np.uint32).tofile(tmp_path / "train.bin")  # a batch is int32: this would be negative
    with pytest.raises(ShardError, match="token id 2,147,483,648"):
        open_data(tmp_path, 2**31, bare="uint32")


@pytest.mark.parametrize(("bare", "vocab_size"), [("uint16", 65_537), ("uint32", 2**31 + 1)])
def test_bare_ids_that_cannot_hold_the_vocabulary_are_refused(tmp_path, bare, vocab_size):
    """Ids of four bytes read as two would all be below such a vocabulary, and nothing else would tell."""
    np.array([LARGE, 70_000, 3, 4] * 5, np.uint32).tofile(tmp_path / "train.bin")
    for look in (open_data, verify):
        with pytest.raises(ValueError, match=rf"--token-dtype {bare} holds .* ids; the vocabulary has {vocab_size:,}"):
            look(tmp_path, vocab_size, bare=bare)


def test_wide_shards_with_headers_are_not_read_as_bare_ids(wide_folder):
    for bare in ("uint16", "uint32"):
        with pytest.raises(ShardError, match=r"a shard with a header; .*Leave out --token-dtype"):
            open_data(wide_folder, 50_257, bare=bare)


def test_text_becomes_wide_shards_and_batches_with_the_same_ids(options, documents, wide_tokenizer):
    tokenizer, manifest = load(wide_tokenizer), prepare(options())
    expected = [token for text in documents if text for token in [70_000, *tokenizer.encode(text)]]
    assert manifest.dtype == "uint32"
    assert max(expected[1:]) > 65_535
    assert np.concatenate([open_tokens(manifest.path(shard)) for shard in manifest.shards]).tolist() == expected
    assert [verdict.fault for verdict in verify(manifest.folder)] == [""] * len(manifest.shards)
    assert open_data(manifest.folder) == manifest
    n_val = manifest.splits["val"].tokens
    batches = TokenBatches(manifest, "train", 64, 1, seed=None)
    assert batches.batch(0)[0].tolist() == expected[n_val : n_val + 65]
    n_bytes = sum(split.bytes or 0 for split in manifest.splits.values())
    assert n_bytes == sum(len(text.encode()) for text in documents)


def test_the_order_of_the_data_does_not_depend_on_the_width(tmp_path, shard_bytes):
    for name, other in (("narrow", {}), ("wide", WIDE)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.bin").write_bytes(shard_bytes(range(1000), **other))
    narrow, wide = (TokenBatches(open_data(tmp_path / name), "train", 8, 5, seed=3) for name in ("narrow", "wide"))
    for step in (0, 7, 100):
        assert (narrow.batch(step) == wide.batch(step)).all()
        assert wide.batch(step).dtype == np.int32


def test_tasks_that_share_the_work_give_the_same_wide_shards(options):
    """As the tasks of a job array, and `train curate`, make them."""
    expected = files_of(prepare(options("whole")).folder)
    for task in (1, 0):
        prepare_share(options(task=task, tasks=2))
    assert files_of(prepare(options(assemble=True)).folder) == expected


class Stopped(BaseException):
    """Not an Exception: nothing on the way may mend it."""


@pytest.mark.parametrize("n_writes", [1, 4, 8, 11])
def test_a_wide_preparation_that_was_stopped_ends_with_the_same_bytes(options, monkeypatch, n_writes):
    expected = files_of(prepare(options("whole")).folder)
    rename, done = os.replace, 0

    def stopping(source, target):
        nonlocal done
        if done == n_writes:
            raise Stopped
        done += 1
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("train.prepare.plan.abandon", lambda _: None)  # a process that is killed tidies nothing
        patch.setattr(os, "replace", stopping)
        with pytest.raises(Stopped):
            prepare(options())
    assert files_of(prepare(options()).folder) == expected


def test_an_id_outside_the_vocabulary_is_never_written(options, monkeypatch):
    """A tokenizer that is at fault: 65,536 more than an id would be the id itself in two bytes."""
    encode = CharacterTokenizer.encode_array
    monkeypatch.setattr(CharacterTokenizer, "encode_array", lambda *given: encode(*given) + 65_536)
    with pytest.raises(ValueError, match=r"token id 1\d\d,\d\d\d; expected ids below the vocabulary's 70,001"):
        prepare(options())
    with pytest.raises(ValueError, match=r"token id 65,\d\d\d; expected ids below the vocabulary's \d\d"):
        prepare(options(tokenizer="characters", border="none"))
    assert not options().out.exists()


def test_a_part_of_another_width_is_not_written_into_a_shard(options, monkeypatch):
    monkeypatch.setattr("train.prepare.tokenise.fitted", lambda ids, _: ids.astype(np.uint16))
    with pytest.raises(
        ValueError, match=r"parts hold ids of uint16 up to .*; expected uint32, below .* 70,001.*remove"
    ):
        prepare(options())
    assert not list(options().out.glob("*.bin"))


def test_cl100k_base_goes_from_text_to_batches(tmp_path, json_lines, documents, shared_data):
    import tiktoken

    encoding = tiktoken.get_encoding("cl100k_base")
    text = [*documents, "".join(encoding.decode([number]) for number in range(99_000, 99_050))]
    json_lines.write_text("".join(json.dumps({"text": part}) + "\n" for part in text))
    options = PrepareConfig(source=(str(json_lines),), out=tmp_path / "cl100k", tokenizer="cl100k_base", processes=1)
    manifest = prepare(options)
    expected = [token for part in text if part for token in [encoding.eot_token, *encoding.encode_ordinary(part)]]
    assert (manifest.dtype, manifest.tokenizer.vocab_size) == ("uint32", 100_277)
    assert np.concatenate([open_tokens(manifest.path(shard)) for shard in manifest.shards]).tolist() == expected
    train = expected[manifest.splits["val"].tokens :]
    assert TokenBatches(manifest, "train", 100, 1, None).batch(0)[0].tolist() == train[:101]
    assert max(train) == encoding.eot_token


def test_verify_takes_the_vocabulary_of_the_width_by_default(wide_folder):
    assert VerifyConfig().vocab_size is None
    assert FORMATS["uint32"].magic == 20240801
    assert [verdict.fault for verdict in verify(wide_folder, VerifyConfig().vocab_size)] == ["", ""]
