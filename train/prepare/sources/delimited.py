"""CSV and TSV tables, with a header, or without one if the column is given by its number."""

import csv
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Literal

from llm_jax.files.content import Form
from train.prepare.slices import BadRow, not_utf8, read_at
from train.prepare.sources.arrow import no_column, refuse_namesakes
from train.prepare.sources.kinds import LONGEST_NAME, delimiter_of

BLOCK_BYTES = 1 << 20
_STRAY_QUOTE = re.compile(rb'(?:^|\t)"(?!(?:[^"\t]|"")*"(?:[\t\r\n]|$))')
LONGEST_FIELD = (1 << 31) - 1  # characters; the csv module's own limit is 131,072


def csv_texts(path: Path, form: Form, column: str) -> Iterator[str | BadRow]:
    """The field `column` of each row. A row that cannot be read gives a BadRow.

    Args:
        column: a name of the header or, in a table without one, the column's number, counted from 1.

    Raises:
        ValueError: the column is missing, or a quote that is never closed hides where the rows end.
    """
    rows = csv_rows(path, form, column)
    names = next(rows, (0, None))[1]
    if names is None or isinstance(names, BadRow):  # an empty file; the first row is never bad
        return
    place = _place_of(path, names, column)
    if column not in [name.strip() for name in names]:
        yield names[place]  # no header: the first row is a document
    for _, row in rows:
        yield row if isinstance(row, BadRow) else row[place]


def csv_rows(
    path: Path, form: Form, column: str, quotes: Literal["told", "csv"] = "told"
) -> Iterator[tuple[int, list[str] | BadRow]]:
    """The number of each row's last line, and its fields; the first row may be a header.

    The delimiter is the one under which the first line holds `column`, if there is one. A row that cannot be read, or
    has another number of fields than the first, is a BadRow. Raises ValueError where a quote is never closed.
    """
    csv.field_size_limit(LONGEST_FIELD)
    lines = _Lines(path, form)
    first = next(lines, "")
    delimiter = delimiter_of(first.rstrip("\r\n"), path, column)
    if lines.faults:
        raise ValueError(lines.faults[0])
    quoting = _quoting(path, form, first, delimiter)
    are_read = quotes == "csv" and quoting == csv.QUOTE_NONE
    reader = csv.reader(
        chain([first], lines),
        delimiter=delimiter,
        strict=not are_read,
        quoting=csv.QUOTE_MINIMAL if are_read else quoting,
    )
    try:
        names = next(reader, [])
    except csv.Error as error:
        raise ValueError(f"{path}:{reader.line_num}: {_not_csv(error)}") from None
    if not names:
        return
    yield reader.line_num, names
    while True:
        before = reader.line_num
        try:
            row = next(reader, None)
        except csv.Error as error:
            reason = f"{path}:{reader.line_num}: {_not_csv(error)}"
            if reader.line_num > before + 1:  # the field may have swallowed whole rows
                raise ValueError(f"{reason} The row began in line {before + 1}.") from None
            lines.faults.clear()
            yield reader.line_num, BadRow(reason)
            continue
        if row is None:
            return
        if lines.faults:
            yield reader.line_num, BadRow(lines.faults[0])
            lines.faults.clear()
        elif row and len(row) != len(names):
            found = f"{len(row)} fields; expected {len(names)}, as the first row has"
            yield reader.line_num, BadRow(f"{path}:{reader.line_num}: {found}")
        elif row:
            yield reader.line_num, row


def _quoting(path: Path, form: Form, first: str, delimiter: str) -> Literal[0, 3]:
    """QUOTE_NONE for a TSV file in which quotes are plain text, else QUOTE_MINIMAL.

    Quotes are plain text if all lines have the same number of tabs (so no quotes enclose a tab or a line break), and
    some field begins with a quote but does not end with one.
    """
    if delimiter != "\t":
        return csv.QUOTE_MINIMAL
    tabs, stray = first.count("\t"), False
    for line in raw_lines(path, form):
        if line.strip(b"\r\n") and line.count(b"\t") != tabs:
            return csv.QUOTE_MINIMAL
        stray = stray or (b'"' in line and _STRAY_QUOTE.search(line) is not None)
    return csv.QUOTE_NONE if stray else csv.QUOTE_MINIMAL


def _place_of(path: Path, names: list[str], column: str) -> int:
    stripped = [name.strip() for name in names]
    refuse_namesakes(path, [name for name in stripped if name == column])
    if column in stripped:
        return stripped.index(column)
    if column.isascii() and column.isdigit():
        if 1 <= int(column) <= len(names):
            return int(column) - 1
        raise ValueError(f"{path}: no column number {column}; its first line has {len(names)}, counted from 1")
    shortened = [name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…" for name in stripped]
    raise ValueError(
        f"{path}: {no_column(column, shortened)} If the first line is a row and no header, give the number of the "
        f"column, counted from 1: --text-column {len(names)}"
    )


def _not_csv(error: csv.Error) -> str:
    return (
        f"not a row of CSV ({error}). A field that contains quotes or line breaks must be enclosed in quotes, with the "
        'quotes inside it doubled (""). Correct the row, or convert the table to JSON lines.'
    )


class _Lines:
    """Lines of a file with their ends: \\n, \\r\\n or, if the file has neither, \\r.

    Bytes that are not UTF-8 are replaced; `faults` lists their places.
    """

    def __init__(self, path: Path, form: Form) -> None:
        self.faults: list[str] = []
        self._path, self._form, self._offset = path, form, 0
        self._raw = raw_lines(path, form)

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        raw = next(self._raw)
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            self.faults.append(str(not_utf8(error, self._path, self._offset, self._form)))
            text = raw.decode(errors="replace")
        self._offset += len(raw)
        return f"{text[:-1]}\n" if text.endswith("\r") else text


def raw_lines(path: Path, form: Form) -> Iterator[bytes]:
    r"""The lines of a file's text with their ends, which are \n or, where there is no other, \r."""
    rest, position = b"", 0
    while block := read_at(path, form, position, BLOCK_BYTES):
        position += len(block)
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        yield from (line + b"\n" for line in lines)
    if rest.count(b"\r") > 1:
        yield from (line + b"\r" for line in rest.removesuffix(b"\r").split(b"\r"))
    elif rest:
        yield rest
