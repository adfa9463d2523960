"""Recognises what a text file holds: plain text, JSON lines, a JSON array, or a table of delimited values.

Its first lines decide. Where they are ambiguous, the suffix decides: a .txt file may begin with a brace or hold commas,
but a .csv file has columns.
"""

import csv
import json
from itertools import islice
from pathlib import Path

from llm_jax.files.content import Content, recognise
from llm_jax.files.json_files import integer

JSON_NAMES = {".json", ".jsonl", ".ndjson", ".jsonlines", ".geojson"}
LINES_NAMES = {".jsonl", ".ndjson", ".jsonlines"}
TABLE_NAMES = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
PACKED_NAMES = {".gz", ".zst", ".zstd", ".bz2", ".xz", ".lzma", ".lz4", ".gzip"}
DELIMITERS = ",\t;|"
LINES_SEEN = 20  # lines of a table without a header that must have the same number of fields
LONGEST_NAME = 64  # characters of a column's name

BINARY_NAMES = {".parquet", ".arrow", ".feather"}

_DECODER = json.JSONDecoder(parse_int=integer)


class NotReadError(ValueError):
    """A file of a kind that is not read; the message names it and the cure."""


def kind_of(path: Path, content: Content, column: str) -> str:
    """One of parquet, arrow, json lines, json array, csv and text.

    Raises:
        NotReadError: the file is other JSON.
        ValueError: its name says parquet or Arrow, its contents do not.
    """
    if content.kind != "text":
        return content.kind
    suffix = inner_suffix(path)
    if suffix in BINARY_NAMES:
        raise ValueError(f"{path}: not a readable {suffix[1:]} file, going by its first bytes; copy it again")
    text = content.head_text
    start = text.lstrip("\ufeff \t\r\n")
    if suffix in TABLE_NAMES:
        return "csv"
    if suffix in JSON_NAMES or start[:1] in ("{", "["):
        kind = _json_kind(start, suffix in LINES_NAMES, suffix in JSON_NAMES, column)
        if kind == "object":
            raise NotReadError(
                f"{path}: one JSON value over several lines; expected one object a line, or an array of objects. "
                f"Convert it, for example: jq -c '.FIELD[]' {path.name} > {path.name.split('.')[0]}.jsonl"
            )
        if kind:
            return kind
    return "csv" if _is_table(text, column) else "text"


def inner_suffix(path: Path) -> str:
    """The suffix of a name without that of a compression: `.jsonl` for `x.jsonl.gz`."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes and suffixes[-1] in PACKED_NAMES:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def delimiter_of(header: str, path: Path, column: str) -> str:
    """The delimiter with which the header has a field `column`, or else the most fields."""
    usual = TABLE_NAMES.get(inner_suffix(path), ",")
    signs = [usual, *(sign for sign in DELIMITERS if sign != usual)]
    if named := next((sign for sign in signs if column in _fields(header, sign)), None):
        return named
    if inner_suffix(path) == ".tsv" and usual in header:
        return usual  # even if the texts hold more commas than tabs
    return max(signs, key=lambda sign: len(_fields(header, sign)))


def _fields(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def _json_kind(start: str, lines_by_name: bool, json_by_name: bool, column: str) -> str:
    """The kind of JSON that begins with `start`, at its first visible character; empty for none."""
    if start[:1] == "[" and start[1:].lstrip()[:1] == "{":
        return "json array" if json_by_name or _begins_with_object(start[1:].lstrip()) else ""
    if lines_by_name:
        return "json lines"
    first, end, second = start.partition("\n")
    row = _object(first)
    if row is not None and (json_by_name or column in row or _object(second.partition("\n")[0])):
        return "json lines"
    if row is None and not end and first[:1] == "{" and (json_by_name or f'"{column}"' in first):
        return "json lines"  # the first line is longer than the part that was read
    if json_by_name and start[:1] == "[" and start[1:].strip() == "]":
        return "json array"  # of no elements
    return "object" if json_by_name and start else ""


def _object(line: str) -> dict | None:
    try:
        value = _DECODER.decode(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and value else None


def _begins_with_object(text: str) -> bool:
    """Whether `text` begins with a valid JSON object. One longer than `text` counts if it begins like an object."""
    try:
        return isinstance(_DECODER.raw_decode(text)[0], dict)
    except (ValueError, RecursionError):
        return len(text) > 50_000 and text[1:].lstrip()[:1] == '"'


def _is_table(text: str, column: str) -> bool:
    """Whether the text is a table.

    It is if the first line is a header that names `column` and the next has as many fields; or, for a column given by
    number, if the first lines all have the same number of fields.
    """
    if column.isascii() and column.isdigit():
        return any(_has_columns(text, delimiter, int(column)) for delimiter in DELIMITERS)
    header, _, rest = text.partition("\n")
    for delimiter in DELIMITERS:
        names = _fields(header.rstrip("\r"), delimiter)
        if len(names) < 2 or column not in names or any(len(name) > LONGEST_NAME for name in names):
            continue
        row = next(csv.reader(rest.splitlines(keepends=True)[:1000], delimiter=delimiter), None)
        return row is None or len(row) == len(names)
    return False


def _has_columns(text: str, delimiter: str, least: int) -> bool:
    lines = text.splitlines(keepends=True)
    widths = {len(row) for row in islice(csv.reader(lines[: LINES_SEEN + 1], delimiter=delimiter), LINES_SEEN) if row}
    return len(widths) == 1 and max(widths) >= max(least, 2)


def recognised(path: Path, column: str) -> tuple[str, Content]:
    """The kind of a file, and its content with the form (encoding and compression).

    Raises:
        NotReadError: files of this kind are not read; names the file and the cure.
        ValueError: the file is damaged; names the file and the cure.
    """
    content = recognise(path)
    if content.refusal:
        raise NotReadError(f"{path}: {content.refusal}")
    return kind_of(path, content, column), content
