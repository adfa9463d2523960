"""nanoGPT's files of token ids without headers: read when told how, and never misread."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from train.data.integrity import open_data, verify
from train.data.loader import TokenBatches
from train.pretrain.command import parse
from train.pretrain.config import RunOptions, TrainConfig
from train.pretrain.inputs import open_inputs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As data/shakespeare_char/prepare.py leaves it; to unpickle its meta.pkl would leave a mark."""
    folder = tmp_path / "shakespeare_char"
    folder.mkdir()
    for name, size in (("train", 900), ("val", 100)):
        np.random.default_rng(size).integers(0, 65, size).astype(np.uint16).tofile(folder / f"{name}.bin")
    pickled = f"cos\nsystem\n(S'touch {tmp_path / 'unpickled'}'\ntR."
    (folder / "meta.pkl").write_bytes(pickled.encode())
    return folder


def arguments(folder: Path, *flags: str) -> list[str]:
    return ["shakespeare-char", "--data", str(folder), *flags]


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_the_tokens_are_those_of_the_files(folder, tmp_path, dtype):
    tokens = {name: np.fromfile(folder / f"{name}.bin", np.uint16).astype(dtype) for name in ("train", "val")}
    for name, ids in tokens.items():
        ids.tofile(folder / f"{name}.bin")
    options = parse(arguments(folder, "--token-dtype", dtype, "--vocab-size", "65"))
    manifest, vocabulary = open_inputs(options.where, options.config, tmp_path / "run", prepares=True)
    assert (vocabulary, manifest.tokenizer.vocab_size) == (None, 65)
    for name, ids in tokens.items():
        assert TokenBatches(manifest, name, 16, 1, None).batch(0)[0].tolist() == ids[:17].tolist()
    assert not (tmp_path / "unpickled").exists()
    assert [verdict.fault for verdict in verify(folder, 65, bare=dtype)] == ["", ""]


def test_ids_that_are_gpt2s_have_its_tokenizer(folder):
    (folder / "meta.pkl").unlink()
    assert open_data(folder, 50257, bare="uint16").tokenizer.name == "gpt2"


def test_files_without_headers_are_refused_with_the_flags(folder, tmp_path):
    with pytest.raises(ValueError, match=r"train\.bin: .*--token-dtype uint16 \(or uint32\) and --vocab-size N"):
        open_inputs(RunOptions(data=folder), TrainConfig(), tmp_path / "run", prepares=True)
    with pytest.raises(ValueError, match=r"--token-dtype uint16: .*add --vocab-size N"):
        parse(arguments(folder, "--token-dtype", "uint16"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("uint16", "64"), r"train\.bin: token id 64; expected ids below the vocabulary's 64.*--vocab-size"),
        (("uint32", "65"), r"train\.bin: token id [\d,]+; expected ids below the vocabulary's 65"),
    ],
)
def test_ids_outside_the_vocabulary_are_refused(folder, tmp_path, flags, message):
    options = parse(arguments(folder, "--token-dtype", flags[0], "--vocab-size", flags[1]))
    for _ in range(2):  # notes of an earlier look must not hide it
        with pytest.raises(ValueError, match=message):
            open_inputs(options.where, options.config, tmp_path / "run", prepares=True)
    open_data(folder, 65, bare="uint16")


def test_wide_ids_are_not_read_as_narrow_ones(folder):
    np.arange(1, 50, dtype=np.uint32).tofile(folder / "train.bin")
    with pytest.raises(ValueError, match=r"a zero in every second place; .*--token-dtype uint32"):
        open_data(folder, 65, bare="uint16")
    (folder / "train.bin").write_bytes(b"\1\0\2")
    with pytest.raises(ValueError, match=r"train\.bin: 3 bytes; expected ids of 2 bytes each"):
        open_data(folder, 65, bare="uint16")


def test_shards_with_headers_are_not_read_as_bare_ids(shard_folder):
    folder = shard_folder(train_000001=[1, 2], val_000000=[3])
    with pytest.raises(ValueError, match=r"a shard with a header; expected bare token ids\. Leave out --token-dtype"):
        open_data(folder, 65, bare="uint16")
    (folder / "manifest.json").write_text(json.dumps({}))
    with pytest.raises(ValueError, match=r"has a manifest\.json.*leave out --token-dtype"):
        open_data(folder, 65, bare="uint16")


def test_a_run_that_goes_on_knows_the_type_of_its_ids(folder, tmp_path):
    from train.pretrain import run_folder

    options = parse(arguments(folder, "--token-dtype", "uint16", "--vocab-size", "65", "--runs", str(tmp_path)))
    identity = run_folder.Identity("data", "unknown", 1, 64, 0)
    run_folder.save(tmp_path / "shakespeare-char", options.config, identity, options.where)
    resumed = parse(["shakespeare-char", "--runs", str(tmp_path), "--resume"])
    assert resumed == dataclasses.replace(options, where=dataclasses.replace(options.where, resume=True))
