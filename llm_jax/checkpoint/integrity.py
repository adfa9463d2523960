"""Detects every changed byte of a folder by hashes of its files in `integrity.json`, which is written last.

That file lists the size and SHA-256 of every other file, and a hash of its own content. So `verify` finds any byte that
was changed, removed or added, also in the list itself, and names the file. SHA-256 is fast enough: processors with SHA
instructions hash 1.4 GB/s on one core (measured on a small virtual machine). Anybody can repeat the check with
`sha256sum`. Left out: signatures (who can write to the folder can write a matching list) and repair.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from llm_jax.files import write
from llm_jax.files.json_files import parse_json

FILE = "integrity.json"
FORMAT = 1  # of the whole folder; to be raised when older versions can no longer read it


FileHash = dict[str, Any]  # "bytes" and "sha256" of one file


class Damaged(ValueError):
    """A file differs from what was written: it is missing, or has another size or content."""


def seal(folder: Path, hashed: Mapping[str, FileHash] | None = None) -> None:
    """Lists every file under `folder` in `integrity.json`; all files are flushed to the disk when this returns.

    Args:
        folder: the folder whose files are listed.
        hashed: files that their writers have hashed and flushed (`hash_files`); only their sizes are checked here.

    Raises:
        OSError: a file in `hashed` is missing or has another size: the processes do not see the same folder.
    """
    known = dict(hashed or {})
    paths = _files_under(folder)
    for name, measured in known.items():
        size = paths[name].stat().st_size if name in paths else None
        if size != measured["bytes"]:
            problem = "is missing" if size is None else f"has {size:,} bytes"
            raise OSError(
                f"{folder / name} {problem} where another process wrote {measured['bytes']:,} bytes: all processes "
                "need the same shared folder"
            )
    new = {name: path for name, path in paths.items() if name not in known}
    files = known | {name: _measure(path) for name, path in new.items()}
    for path in new.values():
        _flush(path)
    write(folder / FILE, _render({"format": FORMAT, "files": files}))


def hash_files(folder: Path) -> dict[str, FileHash]:
    """Size and SHA-256 of every file under `folder`, by relative name. Flushes all of them to the disk."""
    paths = _files_under(folder)
    hashed = {name: _measure(path) for name, path in paths.items()}
    for path in paths.values():
        _flush(path)
    return hashed


def verify(folder: Path, names: list[str] | None = None) -> None:
    """Compares every file, or those in `names`, with the list in `integrity.json`.

    Files that were added later are not damage.

    Raises:
        Damaged: a file differs from the list; it names the first one and the difference.
        ValueError: the list has a format that this version does not know.
    """
    sealed = _read_seal(folder)
    present = _files_under(folder)
    names = list(sealed) if names is None else names
    for name in names:
        if name not in sealed:
            raise Damaged(f"{folder / FILE} does not list {name}")
        if name not in present:
            raise Damaged(f"{folder / name} is missing")
    # One process hashes for all, and they wait: a core reads about 1 GB/s, and the state of 8 billion parameters is 96.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(lambda name: _compare(present[name], sealed[name]), names):
            pass


def _compare(path: Path, expected: dict[str, Any]) -> None:
    try:
        found = _measure(path)
    except PermissionError:
        raise
    except OSError as error:
        raise Damaged(f"{path} cannot be read: {error.strerror}") from error
    if found["bytes"] != expected["bytes"]:
        raise Damaged(f"{path} has {found['bytes']:,} bytes where {expected['bytes']:,} were written")
    if found["sha256"] != expected["sha256"]:
        raise Damaged(
            f"{path} was changed after it was written: its SHA-256 is {found['sha256'][:12]}… "
            f"where {expected['sha256'][:12]}… was recorded"
        )


def _read_seal(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / FILE
    try:
        raw = path.read_bytes()
    except PermissionError:  # a wrong mode that the user can correct, not damage
        raise
    except FileNotFoundError as error:
        raise Damaged(f"{path} is missing") from error
    except OSError as error:  # a folder in its place, or a file in its folder's
        raise Damaged(f"{path} cannot be read: {error.strerror}") from error
    try:
        body = parse_json(raw, FILE, kind=dict)
        # Rendering again compares every byte, white space too, and with it the hash that the file has of itself.
        is_intact = _render({key: value for key, value in body.items() if key != "sha256"}) == raw
    except (ValueError, AttributeError, RecursionError) as error:  # not UTF-8, not JSON, not an object, or too deep
        raise Damaged(f"{path} is not the JSON that was written: {error}") from error
    if not is_intact:
        raise Damaged(f"{path} was changed after it was written: it does not match the hash it has of itself")
    if body.get("format") != FORMAT:
        raise ValueError(
            f"{path} is of format {body.get('format')}; this version of llm-jax reads format {FORMAT}: use the version "
            "that wrote it"
        )
    return body["files"]


def _render(body: dict[str, Any]) -> bytes:
    own = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return (json.dumps({**body, "sha256": own}, indent=1, sort_keys=True) + "\n").encode()


def _measure(path: Path) -> FileHash:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": file.tell(), "sha256": digest}


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _files_under(folder: Path) -> dict[str, Path]:
    """Relative name → path, itself and half-written lists left out. Names from a list are never turned into paths."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in files if path.name not in (FILE, f"{FILE}.tmp")}
