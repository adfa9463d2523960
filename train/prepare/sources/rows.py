"""Documents in files that must be read from their first row: CSV and TSV, a JSON array, Arrow.

Slices are ranges of rows. A process that asks for ascending ranges of a file continues from the row it has reached, so
it reads the file once, whatever the number of slices.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from llm_jax.files.content import UTF8, Form
from train.prepare.slices import BadRow, Slice, listing, refusing
from train.prepare.sources.arrow import arrow_values, text_of
from train.prepare.sources.delimited import csv_texts
from train.prepare.sources.json_array import array_texts


class Position:
    """The file that this process read last, the row it has reached, and an iterator over the rest.

    A pickled position is empty, so each process starts without one.
    """

    def __init__(self) -> None:
        self.key: tuple | None = None
        self.row = 0
        self.rest: Iterator[str | BadRow] = iter(())

    def __reduce__(self) -> tuple:
        return Position, ()


@dataclass(frozen=True)
class Rows:
    """Each row is a document; its text is the field `column`."""

    kind: str  # csv, json array or arrow
    paths: tuple[Path, ...]
    given: tuple[str, ...]
    column: str
    slice_bytes: int
    forms: Mapping[Path, Form] = field(default_factory=dict)
    position: Position = field(default_factory=Position, init=False, repr=False, compare=False)
    separated = True

    def describe(self) -> dict[str, Any]:
        return {"kind": self.kind, "given": list(self.given), "text_column": self.column, **listing(self.paths)}

    def slices(self) -> Iterator[Slice]:
        for path in self.paths:
            first, size, row = 0, 0, -1
            for row, text in enumerate(self._texts(path)):
                size += len(text) if isinstance(text, str) else 1
                if size >= self.slice_bytes:
                    yield Slice(str(path), first, row + 1, size)
                    first, size = row + 1, 0
            if first <= row:
                yield Slice(str(path), first, row + 1, max(size, 1))

    def read(self, piece: Slice) -> Iterator[str]:
        return refusing(self.rows(piece))

    def rows(self, piece: Slice) -> Iterator[str | BadRow]:
        path, position = Path(piece.path), self.position
        status = path.stat()
        key = (piece.path, status.st_size, status.st_mtime_ns, status.st_ino)
        row, texts = 0, self._texts(path)
        if position.key == key and position.row <= piece.start:
            row, texts = position.row, position.rest
        position.key = None  # until the end of this slice, so that two readers never share one iterator
        for _ in islice(texts, piece.start - row):
            pass
        yield from islice(texts, piece.stop - piece.start)
        position.key, position.row, position.rest = key, piece.stop, texts

    def place(self, piece: Slice, index: int) -> str:
        return f"{piece.path}, row {piece.start + index:,}"

    def _texts(self, path: Path) -> Iterator[str | BadRow]:
        if self.kind == "arrow":
            return self._arrow_texts(path)
        read = csv_texts if self.kind == "csv" else array_texts
        return read(path, self.forms.get(path, UTF8), self.column)

    def _arrow_texts(self, path: Path) -> Iterator[str | BadRow]:
        for row, value in enumerate(arrow_values(path, self.column)):
            try:
                yield text_of(value, self.column)
            except ValueError as error:
                yield BadRow(f"{path}, row {row:,}: {error}")
