"""Documents in files that can only be read from the first row on: CSV and TSV, a JSON array, Arrow.

Pieces are ranges of rows. A process that asks for rising ranges of a file goes on from the row it reached, so it reads
the file once, whatever the number of pieces.
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


class Reached:
    """The file that a process read last, the row it reached, and the rows that follow. Each process begins without."""

    def __init__(self) -> None:
        self.key: tuple | None = None
        self.row = 0
        self.rest: Iterator[str | BadRow] = iter(())

    def __reduce__(self) -> tuple:
        return Reached, ()


@dataclass(frozen=True)
class Rows:
    """One row a document; the text is its field `column`."""

    kind: str  # csv, json array or arrow
    paths: tuple[Path, ...]
    given: tuple[str, ...]
    column: str
    slice_bytes: int
    forms: Mapping[Path, Form] = field(default_factory=dict)
    reached: Reached = field(default_factory=Reached, init=False, repr=False, compare=False)
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
        path, reached = Path(piece.path), self.reached
        status = path.stat()
        key = (piece.path, status.st_size, status.st_mtime_ns, status.st_ino)
        row, texts = 0, self._texts(path)
        if reached.key == key and reached.row <= piece.start:
            row, texts = reached.row, reached.rest
        reached.key = None  # two readers must not share what follows
        for _ in islice(texts, piece.start - row):
            pass
        yield from islice(texts, piece.stop - piece.start)
        reached.key, reached.row, reached.rest = key, piece.stop, texts

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
