"""manifest.json: read as written, refused when it lies, derived where there is none."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from train.data import manifest as manifests
from train.data.integrity import open_data
from train.data.manifest import Manifest, Shard, Split, Tokenizer


@pytest.fixture
def manifest(shard_folder) -> Manifest:
    folder = shard_folder(val_000000=[1, 2], train_000001=[3, 4, 5])
    return Manifest(
        folder=folder,
        tokenizer=Tokenizer("gpt2", "f" * 64, 50257),
        source={"input": {"kind": "stdlib"}},
        splits={"val": Split(2, 1, 7), "train": Split(3, 2, 11)},
        shards=(Shard("val_000000.bin", "val", 2, "a" * 64), Shard("train_000001.bin", "train", 3, "b" * 64)),
    )


def test_a_manifest_is_read_as_it_was_written(manifest):
    manifest.save()
    assert manifests.read(manifest.folder) == manifest


def test_the_fingerprint_is_of_contents_and_order_and_not_of_names(manifest):
    first, second = manifest.shards
    renamed = replace(manifest, shards=(replace(first, name="x.bin"), second))
    assert renamed.fingerprint == manifest.fingerprint
    for other in (
        (second, first),
        (first,),
        (replace(first, sha256="c" * 64), second),
        (replace(first, split="train"), second),
    ):
        assert replace(manifest, shards=other).fingerprint != manifest.fingerprint


@pytest.mark.parametrize(
    "name",
    ["../train_000001.bin", "/etc/passwd", "below/../../x.bin", "below/x.bin", "./x.bin", "x\0.bin", "\ud800.bin"],
)
def test_a_name_that_is_no_plain_file_name_is_refused(manifest, name):
    path = replace(manifest, shards=(manifest.shards[0],)).save()
    path.write_text(path.read_text().replace('"val_000000.bin"', json.dumps(name)))
    with pytest.raises(ValueError, match=re.escape(f"manifest.json: shard {name!r} is no plain file name")):
        manifests.read(manifest.folder)


@pytest.mark.parametrize("name", ["..", "", "link.bin"])
def test_a_path_that_leaves_the_folder_is_refused(manifest, tmp_path, name):
    outside = tmp_path / "outside.bin"
    outside.write_bytes(b"")
    (manifest.folder / "link.bin").symlink_to(outside)
    replace(manifest, shards=(replace(manifest.shards[0], name=name),)).save()
    with pytest.raises(ValueError, match=f"manifest.json: shard '{name}' lies outside the folder"):
        manifests.read(manifest.folder)


def test_a_link_inside_the_folder_is_allowed(manifest):
    (manifest.folder / "link.bin").symlink_to("val_000000.bin")
    link = replace(manifest.shards[0], name="link.bin")
    replace(manifest, shards=(link, manifest.shards[1])).save()
    assert manifests.read(manifest.folder).shards[0].name == "link.bin"
    replace(manifest, shards=(*manifest.shards, link)).save()
    with pytest.raises(ValueError, match=r"'link\.bin' is listed twice"):
        manifests.read(manifest.folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format_version=2), "format_version 2; expected 1"),
        (lambda m: m.update(dtype="int32"), "dtype 'int32'; expected 'uint16' or 'uint32'"),
        (lambda m: m.update(dtype=["uint16"]), r"dtype \['uint16'\]; expected 'uint16' or 'uint32'"),
        (lambda m: m.pop("tokenizer"), "KeyError\\('tokenizer'\\)"),
        (lambda m: m["tokenizer"].update(vocab_size="many"), "tokenizer.vocab_size is 'many'"),
        (lambda m: m["shards"][0].update(tokens=True), "shard.tokens is True"),
        (lambda m: m["shards"][0].update(comment=1), "unexpected keyword argument 'comment'"),
        (lambda m: m["shards"][0].pop("sha256"), "missing 1 required positional argument: 'sha256'"),
        (lambda m: m["shards"][0].update(split="test"), "has split 'test'; expected one of"),
        (lambda m: m["shards"].append(m["shards"][0]), "'val_000000.bin' is listed twice"),
        (lambda m: m.update(shards=None), "'NoneType' object is not iterable"),
        (lambda m: m.update(shards=[]), "lists no shard; expected at least one"),
        (lambda m: m.update(source="text"), "field missing or of a wrong type"),
        (lambda m: m.update(splits={}), r"tokens of splits \{\}; expected \{'val': 2, 'train': 3\}"),
        (lambda m: m["splits"]["train"].update(tokens=5), r"'train': 5\}; expected \{'val': 2, 'train': 3\}"),
        (lambda m: m["splits"]["train"].update(bytes=-3), "splits.train.bytes is -3; expected none below 0"),
        (lambda m: m["splits"]["val"].update(documents=-1), "splits.val.documents is -1; expected none below 0"),
        (lambda m: m["shards"][1].update(tokens=0), "'train_000001.bin' has 0 tokens; expected at least 1"),
        (lambda m: m["tokenizer"].update(vocab_size=0), "vocab_size 0; expected 1 to 65,536"),
        (lambda m: m["tokenizer"].update(vocab_size=65537), "vocab_size 65537; expected 1 to 65,536, which uint16"),
        (
            lambda m: m.update(dtype="uint32") or m["tokenizer"].update(vocab_size=2**31 + 1),
            "vocab_size 2147483649; expected 1 to 2,147,483,648, which uint32",
        ),
    ],
)
def test_a_malformed_manifest_is_refused_and_the_field_named(manifest, change, message):
    path = manifest.save()
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))
    with pytest.raises(ValueError, match=f"manifest.json: .*{message}"):
        manifests.read(manifest.folder)


def test_a_manifest_cut_short_or_nested_without_end_is_refused_by_name(manifest):
    path = manifest.save()
    whole = path.read_bytes()
    for content in (whole[:-5], b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"manifest\.json: not valid JSON"):
            manifests.read(manifest.folder)


def test_a_manifest_is_derived_for_shards_of_others(shard_folder):
    folder = shard_folder(fineweb_val_000000=[1, 2], fineweb_train_000001=[3, 4, 5])
    np.save(folder / "fineweb_train_000002.npy", np.array([6, 7], np.uint16))
    manifest = open_data(folder)
    assert [(shard.name, shard.split, shard.tokens) for shard in manifest.shards] == [
        ("fineweb_train_000001.bin", "train", 3),
        ("fineweb_train_000002.npy", "train", 2),
        ("fineweb_val_000000.bin", "val", 2),
    ]
    assert manifest.tokenizer == Tokenizer("gpt2", None, 50257)
    assert {name: split.tokens for name, split in manifest.splits.items()} == {"val": 2, "train": 5}
    assert not (folder / "manifest.json").exists()


def test_a_split_without_shards_is_refused(shard_folder):
    manifest = open_data(shard_folder(train_000001=[1, 2]))
    with pytest.raises(ValueError, match=r"no shard for 'val' among 1\. Name one file \.\.\.val\.\.\."):
        manifest.of_split("val")


def test_a_folder_without_shards_or_with_unfinished_ones_is_refused(tmp_path, shard_folder):
    with pytest.raises(FileNotFoundError, match="no such folder; make it with `python -m train prepare"):
        open_data(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no shard \(\*\.bin, \*\.npy\)"):
        open_data(tmp_path / "empty")
    folder = shard_folder(train_000001=[1, 2])
    (folder / ".prepare").mkdir()
    with pytest.raises(ValueError, match="interrupted; run the same `python -m train prepare` again"):
        open_data(folder)
