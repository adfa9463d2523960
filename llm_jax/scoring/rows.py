"""Rows of a local data file: parquet, JSONL (one object a line), or JSON (a list of objects)."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llm_jax.files.faults import naming
from llm_jax.files.json_files import read_json, read_json_lines

SUFFIXES = (".parquet", ".jsonl", ".json")
BATCH_ROWS = 1000


def read_rows(path: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """The rows, or the first `limit`, as dictionaries.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file has another suffix, is damaged, or has no rows; names the file.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder: name one file of it" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"data file {path} {what}")
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: data files are {', '.join(SUFFIXES)}; got {path.suffix or 'no suffix'!r}")
    read = _read_parquet if path.suffix == ".parquet" else _read_jsonl
    rows = list(itertools.islice(read(path), limit))
    if not rows:
        raise ValueError(f"{path} has no rows")
    return rows


def _read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(BATCH_ROWS):
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a parquet file that can be read ({error}): copy it again") from None


def _read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".json" and _begins_a_list(path):
        for number, row in enumerate(read_json(path, kind=list), 1):
            if not isinstance(row, dict):
                raise ValueError(f"{path}, row {number} is a {type(row).__name__}; expected an object")
            yield row
        return
    for _, row in read_json_lines(path, "write one object a line"):
        yield row


def _begins_a_list(path: Path) -> bool:
    with naming(path, "read"), path.open("rb") as file:
        return file.read(1000).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")


def require_columns(path: Path, row: dict[str, Any], columns: set[str], use: str) -> None:
    """Checks that the row has all columns. `use` says what needs them, for the message.

    Raises:
        ValueError: it has not; names the columns that it has and those that are missing.
    """
    if missing := sorted(columns - row.keys()):
        raise ValueError(f"{path} has the columns {', '.join(row)}; {use} needs {', '.join(missing)} too")
