"""The index of a folder: which files, which passages, one vector for each passage. Saved whole or not at all.

    index.json            format, folder, model's fingerprint, length of passages; of each file size, time and SHA-256
    passages.jsonl        file, line and text of each passage
    vectors.safetensors   float32, (passages, width), in the same order

It belongs to one folder, one model and one length of passages; another is refused. A file whose size or time has
changed is read again; if its bytes are the old ones, its vectors stay.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from llm_jax.files import replacing_folder
from llm_jax.files.json_files import read_json, read_json_lines, write_json
from llm_jax.hf.sentences import Embedder
from llm_jax.hf.tensors import read_file
from serve.search import passages as reading
from serve.search.config import SearchConfig
from serve.search.passages import Passage

FORMAT = 1
INDEX, PASSAGES, VECTORS = "index.json", "passages.jsonl", "vectors.safetensors"
CURE = "make the index again with --rebuild"


@dataclass(frozen=True)
class Stamp:
    """Size, time and hash of a file when it was read."""

    size: int
    time: int  # of the last change, ns
    sha256: str


@dataclass
class Index:
    files: dict[str, Stamp] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)  # of each passage: its file
    passages: list[Passage] = field(default_factory=list)
    vectors: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))


@dataclass(frozen=True)
class Changes:
    """What has changed in a folder since its index was made, and which files are left out."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    left_out: dict[str, str]  # name → reason

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


def compare(index: Index, config: SearchConfig) -> tuple[Changes, dict[str, Path]]:
    """What has changed by size and time, and where each file is now."""
    found = dict(reading.files(config.folder))
    kept = config.place.resolve()
    found = {name: path for name, path in found.items() if not path.is_relative_to(kept)}
    changed = []
    for name, path in found.items():
        known, status = index.files.get(name), path.stat()
        if known and (known.size, known.time) != (status.st_size, status.st_mtime_ns):
            changed.append(name)
    added = [name for name in found if name not in index.files]
    removed = [name for name in index.files if name not in found]
    return Changes(added, changed, removed, {}), found


def updated(
    index: Index, config: SearchConfig, embedder: Embedder, progress: Callable[[int, int], None] = lambda *_: None
) -> tuple[Index, Changes]:
    """The index of the folder as it is now. Vectors of files whose bytes are the old ones are kept."""
    changes, found = compare(index, config)
    again = {*changes.added, *changes.changed}
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(index.names):
        rows.setdefault(name, []).append(row)
    new, left_out = Index(), {}
    kept: list[tuple[int, int]] = []  # rows of the new and of the old index
    fresh: list[int] = []  # rows of the new one that need a vector
    for name, path in found.items():
        known = index.files.get(name)
        stamp = _stamp(path) if known is None or name in again else known
        new.files[name] = stamp
        begin = len(new.names)
        # A file without a passage is read again: what it costs is small, and it gives the reason why it is left out.
        if known is not None and stamp.sha256 == known.sha256 and name in rows:
            texts = [index.passages[row] for row in rows[name]]
            kept += zip(range(begin, begin + len(texts)), rows[name], strict=True)
        else:
            try:
                texts = reading.read(path, config.characters)
            except (ValueError, OSError) as error:
                texts, left_out[name] = [], str(error).removeprefix(f"{path}: ")
            fresh += range(begin, begin + len(texts))
        new.names += [name] * len(texts)
        new.passages += texts
    new.vectors = np.empty((len(new.names), embedder.width), np.float32)
    for row, old in kept:
        new.vectors[row] = index.vectors[old]
    if fresh:
        texts = [new.passages[row].text for row in fresh]
        new.vectors[fresh] = embedder.embed(texts, lambda done: progress(done, len(texts)))
    return new, Changes(changes.added, changes.changed, changes.removed, left_out)


def save(index: Index, config: SearchConfig, fingerprint: str) -> None:
    """Writes the index's folder, whole or not at all. Raises FileExistsError for a folder that holds something else."""
    place = config.place
    if place.exists() and not (place / INDEX).is_file() and (not place.is_dir() or any(place.iterdir())):
        raise FileExistsError(f"{place} is there already and is no index: choose another --index, or remove it")
    with replacing_folder(place.resolve()) as folder:
        write_json(folder / INDEX, {**_identity(config, fingerprint), "files": _stamps(index)})
        with (folder / PASSAGES).open("w", encoding="utf-8") as file:
            for name, passage in zip(index.names, index.passages, strict=True):
                line = {"file": name, "line": passage.line, "text": passage.text}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        save_file({"vectors": np.ascontiguousarray(index.vectors)}, folder / VECTORS)
        (folder / VECTORS).chmod((folder / INDEX).stat().st_mode)  # safetensors gives the file to its owner alone


def load(config: SearchConfig, fingerprint: str) -> Index | None:
    """The index that is there; None where there is none.

    Raises:
        ValueError: it is another folder's or model's, or damaged; the message names the cure.
    """
    place = config.place
    if not (place / INDEX).is_file():
        return None
    record = read_json(place / INDEX, CURE)
    for name, expected in _identity(config, fingerprint).items():
        if record.get(name) != expected:
            found = record.get(name)
            about = {
                "model": "of another model, whose vectors this one cannot compare",
                "folder": f"of the folder {found}",
                "characters": f"of passages of {found} characters",
            }.get(name, f"of another version ({name} {found!r})")
            raise ValueError(f"{place}: this index is {about}; choose another --index, or {CURE}")
    try:
        files = {name: Stamp(**stamp) for name, stamp in record["files"].items()}
        lines = [line for _, line in read_json_lines(place / PASSAGES, CURE)]
        names = [line["file"] for line in lines]
        texts = [Passage(line["line"], line["text"]) for line in lines]
        vectors = read_file(place / VECTORS)["vectors"]
        if vectors.ndim != 2 or len(vectors) != len(lines) or not set(names) <= set(files):
            raise ValueError(f"{len(lines):,} passages and vectors of shape {vectors.shape}")
    except (KeyError, TypeError, AttributeError, ValueError, OSError) as error:
        raise ValueError(f"{place}: the index is damaged ({error}); {CURE}") from None
    if not np.isfinite(np.einsum("vd,vd->v", vectors, vectors)).all():
        raise ValueError(f"{place / VECTORS}: has numbers that are not finite; {CURE}")
    return Index(files, names, texts, vectors)


def _identity(config: SearchConfig, fingerprint: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "folder": str(config.folder.resolve()),
        "model": fingerprint,
        "characters": config.characters,
    }


def _stamps(index: Index) -> dict[str, Any]:
    return {name: stamp.__dict__ for name, stamp in index.files.items()}


def _stamp(path: Path) -> Stamp:
    """Size and time are taken before the bytes: a change in between is seen the next time."""
    try:
        status = path.stat()
        with path.open("rb") as file:
            return Stamp(status.st_size, status.st_mtime_ns, hashlib.file_digest(file, "sha256").hexdigest())
    except OSError:
        return Stamp(-1, -1, "")  # it cannot be read; the reason is said when its passages are
