"""What a source of text must offer so that its work can be cut up, shared out, and taken up again.

A source lists its input as slices (a range of bytes, rows or dataset shards of one file) without reading the text,
and reads any slice on its own. Slices are grouped into units of some megabytes; one unit is one piece of work, and
what an interrupted run may have to repeat. Slices and units depend on the input alone, never on the number of
processes, and that makes the result independent of it too.
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
    path: str  # a file, or the name of a dataset
    start: int  # first byte, row or dataset shard
    stop: int  # one past the last
    bytes: int  # of text, roughly; 0 if unknown until it is read
    split: str | None = None  # "train" or "val" where the source itself decides


Unit = tuple[Slice, ...]


@dataclass(frozen=True)
class BadRow:
    """Takes the place of a document that cannot be read."""

    reason: str  # names file and row


class Source(Protocol):
    """Text documents in a fixed order."""

    separated: bool  # whether each document is preceded by the tokenizer's border

    def describe(self) -> dict[str, Any]:
        """What manifest.json says of it: equal for equal input. Of files it knows names and sizes, not contents."""
        ...

    def slices(self) -> Iterator[Slice]:
        """The whole input, in order. Raises ValueError for input that can be seen to be wrong without reading it
        through."""
        ...

    def read(self, piece: Slice) -> Iterator[str]:
        """The documents of one slice. Raises ValueError naming the file and the place where it cannot go on."""
        ...

    def place(self, piece: Slice, index: int) -> str:
        """Where document `index` of a slice stands, for messages: 'corpus.jsonl:17'."""
        ...


def rows_of(source: Source, piece: Slice) -> Iterator[str | BadRow]:
    """As `Source.read`, with a BadRow in place of each row that cannot be read, where the source has rows."""
    return getattr(source, "rows", source.read)(piece)


def refusing(rows: Iterable[str | BadRow]) -> Iterator[str]:
    """The documents; raises ValueError at the first BadRow."""
    for row in rows:
        if isinstance(row, BadRow):
            raise ValueError(row.reason)
        yield row


def group(slices: Iterable[Slice], unit_bytes: int) -> list[Unit]:
    """Joins neighbouring small slices until each unit holds about `unit_bytes`; slices of unknown size stay alone."""
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
    """Byte ranges that cover [start, stop) of a file's text, each about `spacing` long and ending where `boundary` last
    matched."""
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
    """`size` bytes of a file's text, as UTF-8 and without its byte order mark, from byte `start` on."""
    with open_utf8(path, form) as file:
        file.seek(start)
        return file.read(size)


def size_of(path: Path, form: Form) -> int:
    """Bytes of a file's text; where it is packed, it is unpacked once to know."""
    if form.is_seekable:
        return path.stat().st_size - form.mark
    size = 0
    while block := read_at(path, form, size, 1 << 24):
        size += len(block)
    return size


def decode(raw: bytes, path: Path, offset: int, form: Form = UTF8) -> str:
    """`raw`, read at byte `offset` of the text of `path`, as UTF-8; a ValueError names file, offset and byte."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise not_utf8(error, path, offset, form) from None


def not_utf8(error: UnicodeDecodeError, path: Path, offset: int, form: Form) -> ValueError:
    """What to say of bytes at `offset` that could not be decoded."""
    place, command = f"offset {offset + form.mark + error.start:,}", f"iconv -f latin1 -t utf8 {path.name}"
    if form.compression:
        place, command = f"{place} of what is unpacked", f"unpack it, then iconv -f latin1 -t utf8 {path.stem}"
    return ValueError(
        f"{path}: byte 0x{error.object[error.start]:02x} at {place} is not UTF-8 ({error.reason}); "
        f"expected UTF-8 text. Convert it, for example: {command}"
    )


def text_to_keep(text: str, separated: bool) -> str | None:
    """A document as it is tokenized: without a byte order mark; None for one that is empty or all white space.

    The pieces of a running text (not `separated`) are no documents, and all of them count.
    """
    if not separated:
        return text
    text = text.removeprefix("\ufeff")
    return None if not text or text.isspace() else text


def listing(paths: Iterable[Path]) -> dict[str, Any]:
    """Number, total size and a hash of names and sizes: tells whether the same files are meant, without reading them.

    A file that was edited without a change of its size is the same one here; see `stamps`."""
    sizes = [(path.name, path.stat().st_size) for path in paths]
    return {
        "files": len(sizes),
        "bytes": sum(size for _, size in sizes),
        "names_and_sizes": hashlib.sha256(repr(sizes).encode()).hexdigest(),
    }


def stamps(units: Iterable[Unit]) -> dict[str, list[int]]:
    """Size and time of modification (ns) of every file of `units`: an edited file has others, and so has a copy."""
    names = [Path(name) for name in dict.fromkeys(piece.path for unit in units for piece in unit)]
    paths = (path for name in names for path in (sorted(name.rglob("*")) if name.is_dir() else [name]))
    found = ((path, path.stat()) for path in paths if path.is_file())
    return {str(path): [status.st_size, status.st_mtime_ns] for path, status in found}
