"""Documents in JSON lines and parquet files, such as FineWeb's.

Large files are cut at line ends or between rows, so that one file of many gigabytes keeps every core busy.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_jax.files.content import UTF8, Form
from llm_jax.files.json_files import parse_json
from train.prepare.slices import BadRow, Slice, cut, decode, listing, read_at, refusing, size_of
from train.prepare.sources.arrow import check_column, text_of, values_of
from train.prepare.sources.json_array import text_of_row
from train.prepare.sources.parquet import ParquetTable

LINE_END = re.compile(rb"\n")

# To reach a row within a row group, the rows before it must be decoded: more cuts would cost more than they gain.
CUTS_PER_ROW_GROUP = 16


@dataclass(frozen=True)
class JsonLines:
    """Each line is a JSON object and a document; its text is the field `column`. Empty lines are skipped."""

    paths: tuple[Path, ...]
    given: tuple[str, ...]
    column: str
    slice_bytes: int
    forms: Mapping[Path, Form] = field(default_factory=dict)
    separated = True

    def describe(self) -> dict[str, Any]:
        return {"kind": "json lines", "given": list(self.given), "text_column": self.column, **listing(self.paths)}

    def slices(self) -> Iterator[Slice]:
        for path in self.paths:
            form = self.forms.get(path, UTF8)
            for start, stop in cut(path, 0, size_of(path, form), self.slice_bytes, LINE_END, form):
                yield Slice(str(path), start, stop, stop - start)

    def read(self, piece: Slice) -> Iterator[str]:
        return refusing(self.rows(piece))

    def rows(self, piece: Slice) -> Iterator[str | BadRow]:
        offset, path = piece.start, Path(piece.path)
        form = self.forms.get(path, UTF8)
        for index, line in enumerate(self._lines(piece)):
            if line.strip(b" \t\r\xef\xbb\xbf"):
                try:
                    yield self._text(line, path, offset, form)
                except ValueError as error:
                    yield BadRow(f"{self._line(piece, index)}: {error}")
            offset += len(line) + 1

    def _text(self, line: bytes, path: Path, offset: int, form: Form) -> str:
        # In files that were joined by `cat`, the byte order mark of each is still there.
        text = decode(line, path, offset, form).removeprefix("\ufeff")
        return text_of_row(parse_json(text, "", "expected one object a line"), self.column)

    def place(self, piece: Slice, index: int) -> str:
        filled = [number for number, line in enumerate(self._lines(piece)) if line and not line.isspace()]
        return self._line(piece, filled[index])

    def _lines(self, piece: Slice) -> list[bytes]:
        path = Path(piece.path)
        text = read_at(path, self.forms.get(path, UTF8), piece.start, piece.stop - piece.start)
        return text.split(b"\n")  # not splitlines, which also splits at \r

    def _line(self, piece: Slice, index: int) -> str:
        """The place of a line, for messages only: it reads the file up to there."""
        path = Path(piece.path)
        lines_before = read_at(path, self.forms.get(path, UTF8), 0, piece.start).count(b"\n")
        return f"{piece.path}:{lines_before + index + 1}"


@dataclass(frozen=True)
class Parquet:
    """Each row is a document; its text is the string column `column`."""

    paths: tuple[Path, ...]
    given: tuple[str, ...]
    column: str
    slice_bytes: int
    separated = True

    def describe(self) -> dict[str, Any]:
        return {"kind": "parquet", "given": list(self.given), "text_column": self.column, **listing(self.paths)}

    def slices(self) -> Iterator[Slice]:
        for path in self.paths:
            table = ParquetTable(path)
            check_column(path, table.schema, self.column)
            row = 0
            for n_rows, size in table.groups(self.column):
                pieces = min(max(-(-size // self.slice_bytes), 1), CUTS_PER_ROW_GROUP, n_rows)
                for k in range(pieces):
                    start, stop = (row + n_rows * edge // pieces for edge in (k, k + 1))
                    yield Slice(str(path), start, stop, max(size // pieces, 1))
                row += n_rows

    def read(self, piece: Slice) -> Iterator[str]:
        return refusing(self.rows(piece))

    def rows(self, piece: Slice) -> Iterator[str | BadRow]:
        for row, value in self._rows(piece):
            try:
                yield text_of(value, self.column)
            except ValueError as error:
                yield BadRow(f"{piece.path}: row {row:,}: {error}")

    def _rows(self, piece: Slice) -> Iterator[tuple[int, Any]]:
        table = ParquetTable(Path(piece.path))
        row = 0
        for number, (n_rows, _) in enumerate(table.groups(self.column)):
            if row < piece.stop and row + n_rows > piece.start:
                yield from self._rows_of_group(table, number, row, piece)
            row += n_rows

    def _rows_of_group(self, table: ParquetTable, number: int, row: int, piece: Slice) -> Iterator[tuple[int, Any]]:
        for batch in table.batches(number, [self.column]):
            first, last = max(piece.start - row, 0), min(piece.stop - row, len(batch))
            if first < last:
                yield from enumerate(values_of(batch.column(0).slice(first, last - first)), row + first)
            row += len(batch)
            if row >= piece.stop:
                return

    def place(self, piece: Slice, index: int) -> str:
        return f"{piece.path}, row {piece.start + index:,}"
