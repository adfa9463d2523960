"""Plain text: the standard library's sources, many files, or one.

Of many files, each is a document. A single file is one running text, as Shakespeare's plays are in nanoGPT: it contains
no documents and therefore no borders, and its last part (by default a tenth of its characters) is for validation.
"""

import hashlib
import os
import platform
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from llm_jax.files.content import UTF8, Form
from llm_jax.tokenizer.bpe.cuts import SAFE_CUT
from train.prepare.slices import BadRow, Slice, cut, decode, listing, read_at, refusing, size_of

NOT_SOURCES = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}


@dataclass(frozen=True)
class TextFiles:
    """Each file is a document."""

    paths: tuple[Path, ...]
    given: tuple[str, ...]  # as the user wrote them
    forms: Mapping[Path, Form] = field(default_factory=dict)
    separated = True

    def describe(self) -> dict[str, Any]:
        return {"kind": "text files", "given": list(self.given), **listing(self.paths)}

    def slices(self) -> Iterator[Slice]:
        for path in self.paths:
            size = size_of(path, self.forms.get(path, UTF8))
            yield Slice(str(path), 0, size, max(size, 1))

    def read(self, piece: Slice) -> Iterator[str]:
        return refusing(self.rows(piece))

    def rows(self, piece: Slice) -> Iterator[str | BadRow]:
        path = Path(piece.path)
        form = self.forms.get(path, UTF8)
        raw = read_at(path, form, 0, -1)
        try:
            yield decode(raw, path, 0, form)
        except ValueError as error:
            yield BadRow(str(error))

    def place(self, piece: Slice, index: int) -> str:
        return piece.path


@dataclass(frozen=True)
class RunningText:
    """One file without documents inside. The last `val_fraction` of its characters is for validation."""

    path: Path
    val_fraction: float
    slice_bytes: int
    form: Form = UTF8
    separated = False

    def describe(self) -> dict[str, Any]:
        return {"kind": "running text", "given": [str(self.path)], **listing([self.path])}

    def slices(self) -> Iterator[Slice]:
        size, path, form = size_of(self.path, self.form), self.path, self.form
        # nanoGPT's arithmetic: int(n · 0.9) characters are for training.
        border = _byte_of_character(path, form, int(_characters(path, form) * (1 - self.val_fraction)))
        for split, start, stop in (("val", border, size), ("train", 0, border)):
            for first, end in cut(path, start, stop, self.slice_bytes, SAFE_CUT, form):
                yield Slice(str(path), first, end, end - first, split)

    def read(self, piece: Slice) -> Iterator[str]:
        raw = read_at(self.path, self.form, piece.start, piece.stop - piece.start)
        yield decode(raw, self.path, piece.start, self.form)

    def place(self, piece: Slice, index: int) -> str:
        return f"{self.path}, bytes {piece.start:,} to {piece.stop:,}"


@dataclass(frozen=True)
class StandardLibrary(TextFiles):
    """The sources of the Python standard library: about 12 MB of text that every Python installation has."""

    def describe(self) -> dict[str, Any]:
        return {"kind": "stdlib", "python": platform.python_version(), **listing(self.paths)}


def standard_library() -> StandardLibrary:
    """All modules except tests and installed packages, in the order of a hash of their names.

    Any part of a hashed order is a fair sample, so the first tenth may serve as validation.
    """
    root = Path(sysconfig.get_path("stdlib"))
    paths: list[Path] = []
    for folder, below, names in os.walk(root):
        below[:] = set(below) - NOT_SOURCES  # site-packages may hold a hundred thousand files
        paths += [Path(folder, name) for name in names if name.endswith(".py")]
    paths.sort(key=lambda path: hashlib.sha256(path.relative_to(root).as_posix().encode()).digest())
    return StandardLibrary(tuple(paths), ("stdlib",))


def _character_starts(path: Path, form: Form) -> Iterator[np.ndarray]:
    """For each 16 MB of a UTF-8 text, a mask that is True at the bytes that begin a character."""
    position = 0
    while block := read_at(path, form, position, 1 << 24):
        yield (np.frombuffer(block, np.uint8) & 0xC0) != 0x80
        position += len(block)


def _characters(path: Path, form: Form) -> int:
    return sum(int(starts.sum()) for starts in _character_starts(path, form))


def _byte_of_character(path: Path, form: Form, character: int) -> int:
    """Byte offset of character number `character`; the text's size if it has at most that many."""
    offset = 0
    for starts in _character_starts(path, form):
        count = int(starts.sum())
        if character < count:
            return offset + int(np.flatnonzero(starts)[character])
        character, offset = character - count, offset + len(starts)
    return offset
