"""Every changed byte of a sealed folder is found, and the file that has it is named."""

import hashlib
import json
from pathlib import Path

import pytest

from llm_jax.checkpoint import Damaged, integrity


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "metadata.json").write_text('{"step": 1}')
    (tmp_path / "state" / "array").write_bytes(bytes(range(64)))
    (tmp_path / "state" / "empty").touch()
    integrity.seal(tmp_path)
    return tmp_path


def test_sealed_folder_verifies_and_added_files_are_no_damage(folder):
    integrity.verify(folder)
    (folder / "notes.txt").write_text("the good one")
    integrity.verify(folder)


def test_files_hashed_by_their_writers_are_not_read_again_and_their_damage_is_found(tmp_path, monkeypatch):
    (tmp_path / "share").mkdir()
    for name in ("share/a", "share/b", "index"):
        (tmp_path / name).write_bytes(name.encode())
    hashed = {f"share/{name}": measured for name, measured in integrity.hash_files(tmp_path / "share").items()}
    read, measure = [], integrity._measure
    monkeypatch.setattr(integrity, "_measure", lambda path: read.append(path.name) or measure(path))
    integrity.seal(tmp_path, hashed)
    assert read == ["index"]
    integrity.verify(tmp_path)
    (tmp_path / "share" / "b").write_bytes(b"share/c")
    with pytest.raises(Damaged, match="share/b was changed"):
        integrity.verify(tmp_path)


@pytest.mark.parametrize("content", [None, b"cut"])
def test_a_share_that_the_first_process_does_not_see_whole_is_not_sealed(tmp_path, content):
    (tmp_path / "share").write_bytes(b"whole")
    hashed = integrity.hash_files(tmp_path)
    (tmp_path / "share").unlink() if content is None else (tmp_path / "share").write_bytes(content)
    with pytest.raises(OSError, match=r"share .*the same shared folder"):
        integrity.seal(tmp_path, hashed)
    assert not (tmp_path / "integrity.json").exists()


def test_recorded_hashes_are_those_of_sha256sum(folder):
    sealed = json.loads((folder / "integrity.json").read_text())["files"]
    assert sealed["state/array"] == {"bytes": 64, "sha256": hashlib.sha256(bytes(range(64))).hexdigest()}
    assert sorted(sealed) == ["metadata.json", "state/array", "state/empty"]


@pytest.mark.parametrize("name", ["metadata.json", "state/array", "integrity.json"])
def test_every_flipped_byte_is_found_and_its_file_named(folder, flip, name):
    for position in range((folder / name).stat().st_size):
        flip(folder / name, position)
        with pytest.raises(Damaged, match=name):
            integrity.verify(folder)
        flip(folder / name, position)
    integrity.verify(folder)


@pytest.mark.parametrize("name", ["metadata.json", "state/array", "integrity.json"])
def test_every_truncation_is_found_and_its_file_named(folder, name):
    content = (folder / name).read_bytes()
    for length in range(len(content)):
        (folder / name).write_bytes(content[:length])
        with pytest.raises(Damaged, match=name):
            integrity.verify(folder)


@pytest.mark.parametrize("name", ["metadata.json", "state/array", "state/empty", "integrity.json"])
def test_appended_byte_and_missing_file_are_found(folder, name):
    with (folder / name).open("ab") as file:
        file.write(b"\n")
    with pytest.raises(Damaged, match=name):
        integrity.verify(folder)
    (folder / name).unlink()
    with pytest.raises(Damaged, match=f"{name} is missing"):
        integrity.verify(folder)


def test_list_of_another_folder_is_found_by_its_files(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "metadata.json").write_text('{"step": 2}')
    integrity.seal(other)
    (folder / "integrity.json").write_bytes((other / "integrity.json").read_bytes())
    with pytest.raises(Damaged, match=r"metadata\.json was changed"):
        integrity.verify(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{}", b'"text"', b"\xff\xfe", b'{"format": 1}'])
def test_list_that_is_something_else_is_damage(folder, content):
    (folder / "integrity.json").write_bytes(content)
    with pytest.raises(Damaged, match=r"integrity\.json"):
        integrity.verify(folder)


@pytest.mark.parametrize("deep", [200_000 * b"[", 200_000 * b'{"a":'])
def test_list_too_deep_to_read_is_damage(folder, deep):
    (folder / "integrity.json").write_bytes(deep)
    with pytest.raises(Damaged, match=r"integrity\.json is not the JSON that was written"):
        integrity.verify(folder)


def test_folder_in_the_list_s_place_and_file_in_the_folder_s_are_damage(folder):
    (folder / "integrity.json").unlink()
    (folder / "integrity.json").mkdir()
    with pytest.raises(Damaged, match=r"integrity\.json cannot be read: Is a directory"):
        integrity.verify(folder)
    with pytest.raises(Damaged, match=r"metadata\.json/integrity\.json cannot be read: Not a directory"):
        integrity.verify(folder / "metadata.json")


def test_list_that_one_may_not_read_is_no_damage(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(PermissionError):
        integrity.verify(folder)


def test_newer_format_is_refused_as_such_and_not_as_damage(folder, monkeypatch):
    monkeypatch.setattr(integrity, "FORMAT", 2)
    integrity.seal(folder)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="is of format 2; this version of llm-jax reads format 1") as raised:
        integrity.verify(folder)
    assert not isinstance(raised.value, Damaged)


def test_unreadable_disk_block_is_damage_that_names_the_file(folder, monkeypatch):
    def fail(file, algorithm):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(hashlib, "file_digest", fail)
    with pytest.raises(Damaged, match=r"metadata\.json cannot be read: Input/output error"):
        integrity.verify(folder)
