"""The interface of a text source, which lets the work be divided among processes and continued after an interrupt.

A source lists its input as slices (a range of bytes, rows or dataset shards of one file) and can read any slice alone.
Slices are grouped into units of a few megabytes. A unit is what one process does at a time, and what an interrupted run
repeats. Slices and units depend on the input alone, never on the number of processes, so the result does not depend on
it either.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from llm_jax.files.content import UTF8, Form, Utf8Reader, open_utf8


@dataclass(frozen=True)
class Slice:
    """A range of one file, or of one dataset."""

    path: str  # a file, or the name of a dataset
    start: int  # first byte, row or dataset shard
    stop: int  # one past the last
    bytes: int  # of text, roughly; 0 if unknown before reading
    split: str | None = None  # "train" or "val" if the source decides it


Unit = tuple[Slice, ...]


@dataclass(frozen=True)
class BadRow:
    """Takes the place of a document that cannot be read."""

    reason: str  # names file and row


class Source(Protocol):
    """Text documents in a fixed order."""

    separated: bool  # whether each document is preceded by the tokenizer's border

    def describe(self) -> dict[str, Any]:
        """The entry `input` of manifest.json, equal for equal input: names and sizes of files, not contents."""
        ...

    def slices(self) -> Iterator[Slice]:
        """The whole input, in order. Raises ValueError for faults that show without reading all of it."""
        ...

    def read(self, piece: Slice) -> Iterator[str]:
        """The documents of one slice. Raises ValueError that names the file and the place of the first bad row."""
        ...

    def place(self, piece: Slice, index: int) -> str:
        """The place of document `index` of a slice, for messages: 'corpus.jsonl:17'."""
        ...


def rows_of(source: Source, piece: Slice) -> Iterator[str | BadRow]:
    """As `Source.read`, but a source with rows gives a BadRow for each one that cannot be read."""
    return getattr(source, "rows", source.read)(piece)


def refusing(rows: Iterable[str | BadRow]) -> Iterator[str]:
    """The documents.

    Raises:
        ValueError: at the first BadRow, with its reason.
    """
    for row in rows:
        if isinstance(row, BadRow):
            raise ValueError(row.reason)
        yield row


def group(slices: Iterable[Slice], unit_bytes: int) -> list[Unit]:
    """Joins neighbouring slices into units of about `unit_bytes`. A slice of unknown size is a unit of its own."""
    units: list[Unit] = []
    unit: list[Slice] = []
    for piece in slices:
        full = sum(known.bytes for known in unit) + piece.bytes > unit_bytes or not piece.bytes
        if unit and (full or piece.split != unit[0].split):
            units.append(tuple(unit))
            unit = []
        unit.append(piece)
    return [*units, tuple(unit)] if unit else units


def cut(
    path: Path, start: int, stop: int, spacing: int, boundary: re.Pattern[bytes], form: Form = UTF8
) -> Iterator[tuple[int, int]]:
    """Byte ranges that cover [start, stop) of a file's text.

    Each is about `spacing` bytes long and ends after a match of `boundary`.
    """
    with open_utf8(path, form) as file:
        while stop - start > spacing:
            end = _after_match(file, start + spacing, stop, boundary)
            yield start, end
            start = end
    if start < stop:
        yield start, stop


def _after_match(file: Utf8Reader, position: int, stop: int, boundary: re.Pattern[bytes]) -> int:
    """The end of the first match at or after `position`; `stop` if there is none."""
    file.seek(position)
    while position < stop and (block := file.read(1 << 16)):
        if match := boundary.search(block):
            return min(position + match.end(), stop)
        position += len(block)
    return stop


def read_at(path: Path, form: Form, start: int, size: int) -> bytes:
    """`size` bytes from byte `start` of a file's text, in UTF-8 and without its byte order mark."""
    with open_utf8(path, form) as file:
        file.seek(start)
        return file.read(size)


def size_of(path: Path, form: Form) -> int:
    """Bytes of a file's text. A compressed file is decompressed once to count them."""
    if form.is_seekable:
        return path.stat().st_size - form.mark
    size = 0
    while block := read_at(path, form, size, 1 << 24):
        size += len(block)
    return size


def decode(raw: bytes, path: Path, offset: int, form: Form = UTF8) -> str:
    """Decodes `raw`, which was read at byte `offset` of the text of `path`, from UTF-8.

    Raises:
        ValueError: it is not UTF-8; names file, offset and byte.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise not_utf8(error, path, offset, form) from None


def not_utf8(error: UnicodeDecodeError, path: Path, offset: int, form: Form) -> ValueError:
    """The error for bytes at `offset` that could not be decoded, to be raised by the caller."""
    place, command = f"offset {offset + form.mark + error.start:,}", f"iconv -f latin1 -t utf8 {path.name}"
    if form.compression:
        place, command = f"{place} of the decompressed text", f"decompress it, then iconv -f latin1 -t utf8 {path.stem}"
    return ValueError(
        f"{path}: byte 0x{error.object[error.start]:02x} at {place} is not UTF-8 ({error.reason}); "
        f"expected UTF-8 text. Convert it, for example: {command}"
    )


def text_to_keep(text: str, separated: bool) -> str | None:
    """A document without a byte order mark, as it is tokenized; None if it is empty or only white space.

    The pieces of a running text (not `separated`) are not documents: all of them are kept.
    """
    if not separated:
        return text
    text = text.removeprefix("\ufeff")
    return None if not text or text.isspace() else text


def listing(paths: Iterable[Path]) -> dict[str, Any]:
    """Number, total size and a hash of names and sizes: identifies a set of files without reading them.

    A file that was edited but kept its size is not noticed here; see `stamps`.
    """
    sizes = [(path.name, path.stat().st_size) for path in paths]
    return {
        "files": len(sizes),
        "bytes": sum(size for _, size in sizes),
        "names_and_sizes": hashlib.sha256(repr(sizes).encode()).hexdigest(),
    }


def stamps(units: Iterable[Unit]) -> dict[str, list[int]]:
    """Size and time of modification (ns) of every file of `units`. They differ for an edited file, and for a copy."""
    names = [Path(name) for name in dict.fromkeys(piece.path for unit in units for piece in unit)]
    paths = (path for name in names for path in (sorted(name.rglob("*")) if name.is_dir() else [name]))
    statuses = ((path, path.stat()) for path in paths if path.is_file())
    return {str(path): [status.st_size, status.st_mtime_ns] for path, status in statuses}
