"""Documents in files that can only be read from the first row on: CSV and TSV, a JSON array, Arrow.

Pieces are ranges of rows. A process that is asked for rising ranges of a file goes on where it was, so that each reads
the file once, whatever the number of pieces; a process alone repeats nothing.
"""

import codecs
import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from llm_jax.files.content import UTF8, Form
from train.prepare.slices import Slice, listing, not_utf8, read_at
from train.prepare.sources.arrow import arrow_values, no_column, text_of
from train.prepare.sources.kinds import delimiter_of

BLOCK_BYTES = 1 << 20
LONGEST_FIELD = (1 << 31) - 1  # characters; the csv module's own limit is 131,072

_WHITE = re.compile(r"[ \t\r\n\ufeff]*")

_kept: dict[tuple, tuple[int, Iterator[str]]] = {}  # of this process: the file read last, its row, and what follows


@dataclass(frozen=True)
class Rows:
    """One row a document; the text is its field `column`."""

    kind: str  # csv, json array or arrow
    paths: tuple[Path, ...]
    given: tuple[str, ...]
    column: str
    slice_bytes: int
    forms: Mapping[Path, Form] = field(default_factory=dict)
    separated = True

    def describe(self) -> dict[str, Any]:
        return {"kind": self.kind, "given": list(self.given), "text_column": self.column, **listing(self.paths)}

    def slices(self) -> Iterator[Slice]:
        for path in self.paths:
            first, size, row = 0, 0, -1
            for row, text in enumerate(self._texts(path)):
                size += len(text)
                if size >= self.slice_bytes:
                    yield Slice(str(path), first, row + 1, size)
                    first, size = row + 1, 0
            if first <= row:
                yield Slice(str(path), first, row + 1, max(size, 1))

    def read(self, piece: Slice) -> Iterator[str]:
        path = Path(piece.path)
        status = path.stat()
        key = (piece.path, self.column, status.st_size, status.st_mtime_ns, status.st_ino)
        row, texts = _kept.pop(key, (0, iter(())))
        if not row or row > piece.start:
            row, texts = 0, self._texts(path)
        _kept.clear()
        for _ in islice(texts, piece.start - row):
            pass
        yield from islice(texts, piece.stop - piece.start)
        _kept[key] = piece.stop, texts

    def place(self, piece: Slice, index: int) -> str:
        return f"{piece.path}, row {piece.start + index:,}"

    def _texts(self, path: Path) -> Iterator[str]:
        if self.kind == "arrow":
            values = enumerate(arrow_values(path, self.column))
            return (text_of(value, self.column, f"{path}, row {row:,}") for row, value in values)
        read = csv_texts if self.kind == "csv" else array_texts
        return read(path, self.forms.get(path, UTF8), self.column)


def csv_texts(path: Path, form: Form, column: str) -> Iterator[str]:
    """The field `column` of each row of a table with a header. Raises ValueError that names file and line."""
    csv.field_size_limit(LONGEST_FIELD)
    lines = _lines(path, form)
    header = next(lines, "")
    delimiter = delimiter_of(header.rstrip("\r\n"), path, column)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter, strict=True), [])]
        if names and column not in names:
            raise ValueError(f"{path}: {no_column(column, names)}")
        for row in reader:
            if row and len(row) != len(names):
                raise ValueError(
                    f"{path}:{reader.line_num + 1}: {len(row)} fields; expected {len(names)}, as the header has"
                )
            if row:
                yield row[names.index(column)]
    except csv.Error as error:
        raise ValueError(
            f"{path}:{reader.line_num + 1}: not a row of CSV ({error}); expected a field with quotes or line breaks in "
            'quotes, and quotes within it doubled (""). Write it so, or as JSON lines.'
        ) from None


def array_texts(path: Path, form: Form, column: str) -> Iterator[str]:
    """The field `column` of each object in a JSON array. Raises ValueError that names file and element."""
    for number, row in enumerate(_elements(path, _Scanner(_blocks(path, form)))):
        try:
            yield text_of_row(row, column)
        except ValueError as error:
            raise ValueError(f"{path}, element {number:,}: {error}") from None


def text_of_row(row: Any, column: str) -> str:
    """The text of one JSON value. Raises ValueError unless it is an object with a string in `column`."""
    if not isinstance(row, dict):
        raise ValueError(f"{type(row).__name__}; expected an object with {column!r}")
    if column not in row:
        raise ValueError(no_column(column, row))
    if not isinstance(text := row[column], str):
        raise ValueError(f"{column!r} is {text!r}; expected a string")
    return text


def _elements(path: Path, text: "_Scanner") -> Iterator[Any]:
    """The elements of an array, one in memory at a time."""
    number = 0
    try:
        text.take("[")
        while text.peek() != "]" or number:
            yield text.value()
            number += 1
            if text.peek() == "]":
                break
            text.take(",")
        text.take("]")
    except (json.JSONDecodeError, RecursionError) as error:
        reason = getattr(error, "msg", "nested too deeply")
        raise ValueError(
            f"{path}, element {number:,}: not valid JSON ({reason}); the file was cut short or edited"
        ) from None
    if text.peek():
        raise ValueError(f"{path}: something follows the end of its array; expected one array in a file")


class _Scanner:
    """JSON read from blocks of text."""

    def __init__(self, blocks: Iterator[str]):
        self._blocks, self._buffer, self._at = blocks, "", 0
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            self._at = _WHITE.match(self._buffer, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._more(1):
                return ""

    def take(self, mark: str) -> None:
        if self.peek() != mark:
            raise json.JSONDecodeError(f"expected {mark!r}", self._buffer, self._at)
        self._at += 1

    def value(self) -> Any:
        self.peek()
        blocks = 1  # doubled, so that a long element is not parsed again and again
        while True:
            try:
                value, self._at = self._decoder.raw_decode(self._buffer, self._at)
                return value
            except json.JSONDecodeError as error:
                is_open = error.msg.startswith("Unterminated string") or error.pos > len(self._buffer) - 16
                if not is_open or not self._more(blocks):
                    raise
                blocks *= 2

    def _more(self, blocks: int) -> bool:
        new = "".join(islice(self._blocks, blocks))
        self._buffer, self._at = self._buffer[self._at :] + new, 0
        return bool(new)


def _blocks(path: Path, form: Form) -> Iterator[str]:
    """The text of a file, a megabyte at a time. Raises ValueError that names the place of what is not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    position = 0
    while block := read_at(path, form, position, BLOCK_BYTES):
        try:
            yield decoder.decode(block)
        except UnicodeDecodeError as error:
            raise not_utf8(error, path, position, form) from None
        position += len(block)
    if decoder.getstate()[0]:
        raise ValueError(f"{path}: ends within a character; it was cut short: copy it again")


def _lines(path: Path, form: Form) -> Iterator[str]:
    """Lines with their ends, which are \n, \r\n or, where there is no other, \r."""
    rest = ""
    for block in _blocks(path, form):
        lines = (rest + block).split("\n")
        rest = lines.pop()
        yield from (f"{line}\n" for line in lines)
    yield from (f"{line}\n" for line in rest.split("\r")) if rest.count("\r") > 1 else [rest]
