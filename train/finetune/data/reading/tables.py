"""Rows of files, folders and datasets: each with its place, for messages, and its fields by name."""

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_jax.files.content import Content, Form
from llm_jax.files.json_files import parse_json
from train.finetune.data.reading.files import files_of, for_validation
from train.prepare.slices import BadRow, decode
from train.prepare.sources.arrow import arrow_batches, refuse_namesakes, rows_of
from train.prepare.sources.delimited import csv_rows, raw_lines
from train.prepare.sources.json_array import array_values
from train.prepare.sources.matches import warn_left_out
from train.prepare.sources.parquet import ParquetTable

if TYPE_CHECKING:
    from pyarrow import RecordBatch, Schema

logger = logging.getLogger(__name__)

HUB = "hf:"
_NAME_END = re.compile(r"[,\t;|\"\r ]+")

Row = dict[str, Any] | BadRow
Classes = Mapping[str, Sequence[str]]  # the names of the classes of a column, in the order of their numbers


@dataclass(frozen=True)
class Tables:
    """What the flag `flag` names; `header` are the names of the columns of a table that has no line of them."""

    given: tuple[str, ...]
    header: tuple[str, ...] = ()
    split: str | None = "train"  # None: one for validation
    columns: tuple[str, ...] = ()  # some that are looked for, by which text is told from a table
    flag: str = "--data"

    def files(self) -> list[Path]:
        """The files, each once, in order. Raises OSError or ValueError that names what is not there."""
        return [Path(one) for one in self._sources if not one.startswith(HUB)]

    def datasets(self) -> list[str]:
        return [one.removeprefix(HUB) for one in self._sources if one.startswith(HUB)]

    def has_csv(self) -> bool:
        """Whether a file is a table of delimited values."""
        return any(how is not None and how[0] == "csv" for how in self._sources.values())

    def rows(self) -> Iterator[tuple[str, Row]]:
        """(place, fields) of every row. Raises ValueError that names a file that cannot be read on."""
        found = False
        for name, how in self._sources.items():
            rows = self._of_hub(name.removeprefix(HUB)) if how is None else self._of_file(Path(name), *how)
            for row in rows:
                found = True
                yield row
        if not found:
            raise ValueError(f"{self.flag} {' '.join(self.given)}: no rows; expected at least one example")

    @cached_property
    def _sources(self) -> dict[str, tuple[str, Content] | None]:
        """Kind and content of every file, None for a dataset on the hub."""
        if not self.given:
            raise ValueError(f"{self.flag} names nothing; expected files, globs, folders or {HUB}NAME[:CONFIG]")
        found: dict[str, tuple[str, Content] | None] = {}
        name_of: dict[Path, str] = {}  # a file without links → its first name
        for given in self.given:
            if given.startswith(HUB):
                found[given] = None
                continue
            files = files_of(given, self.flag, self.split, self.columns, bool(self.header))
            names = {path: name_of.setdefault(path.resolve(), str(path)) for path in files}
            found |= {names[path]: how for path, how in files.items()}
            warn_left_out("read already", [path for path, name in names.items() if name != str(path)])
        return found

    def _of_file(self, path: Path, kind: str, content: Content) -> Iterator[tuple[str, Row]]:
        if kind == "csv":
            return self._of_csv(path, content)
        if kind == "json lines":
            return _of_lines(path, content.form)
        if kind == "json array":
            return _of_array(path, content.form)
        if kind == "arrow":
            return _of_batches(path, arrow_batches(path, lambda schema: refuse_namesakes(path, schema.names)))
        table = ParquetTable(path)
        refuse_namesakes(path, table.schema.names)
        return _of_batches(path, table.all_batches())

    def _of_csv(self, path: Path, content: Content) -> Iterator[tuple[str, Row]]:
        names: Sequence[str] = self.header
        joined: list[int] = []
        for line, row in csv_rows(path, content.form, self._known_column(content), quotes="csv"):
            if isinstance(row, BadRow):
                yield f"{path}:{line}", row
            elif not names:
                names = _header(path, row)
            elif len(row) != len(names):
                raise ValueError(
                    f"{path}:{line}: {len(row)} fields, and --header names {len(names)}: {' '.join(names)}. Name every "
                    "column, in order"
                )
            else:
                if any("\n" in field and "\t" in field for field in row):
                    joined.append(line)
                yield f"{path}:{line}", dict(zip(names, row, strict=True))
        if joined:
            logger.warning(
                "%s: a quote joins lines that look like rows of their own, as a CSV reader has it, %d time(s); the "
                "first such row ends in line %d. Where quotes are text, write the rows as JSON lines",
                path,
                len(joined),
                joined[0],
            )

    def _known_column(self, content: Content) -> str:
        """One of the columns that are looked for and that the first line has, which tells its delimiter."""
        first = content.head_text.partition("\n")[0]
        return next((name for name in self.columns if name in _NAME_END.split(first)), "")

    def _of_hub(self, given: str) -> Iterator[tuple[str, Row]]:
        """The rows of NAME, or of NAME:CONFIG."""
        from datasets import ClassLabel, get_dataset_split_names, load_dataset

        name, _, config = given.partition(":")
        there: Sequence[str] = ()
        with self._naming(given):
            if self.split is None:
                there = get_dataset_split_names(name, config or None)
        split = self.split or for_validation(there, self.flag, f"{HUB}{given}")
        with self._naming(given):
            rows: Any = load_dataset(name, config or None, split=split)
        classes = {name: one.names for name, one in rows.features.items() if isinstance(one, ClassLabel)}
        for number, row in enumerate(_with_names(rows, classes)):
            yield f"{HUB}{given}, row {number:,}", row

    @contextmanager
    def _naming(self, given: str) -> Iterator[None]:
        """Turns errors of `datasets` into one line with the cure."""
        try:
            yield
        except (ValueError, OSError) as error:
            # Behind the first line the library names the configurations, then an example of its own use.
            reason = " ".join(re.split(r"\n(?!Please pick)", str(error), maxsplit=1)[0].split()).rstrip(".")
            split = f" (split {self.split!r})" if self.split else ""
            raise ValueError(
                f"{self.flag} {HUB}{given}{split}: {reason}. Check the name (of several configurations "
                f"{HUB}NAME:CONFIG) and the network, or give its files"
            ) from error


def _of_batches(path: Path, batches: "Iterable[RecordBatch]") -> Iterator[tuple[str, Row]]:
    first = 0
    for batch in batches:
        classes = _classes_of(batch.schema)
        for number, row in enumerate(rows_of(batch), first):
            place = f"{path}, row {number:,}"
            if isinstance(row, UnicodeDecodeError):
                yield place, BadRow(f"{place}: holds bytes that are not UTF-8 ({row.reason}); expected text")
            else:
                yield place, next(_with_names([row], classes))
        first += len(batch)


def _classes_of(schema: "Schema") -> Classes:
    """The columns that `datasets` saved as ClassLabel, by the metadata that it writes."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        classes = {name: one["names"] for name, one in features.items() if one.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, TypeError, AttributeError):  # no metadata, or of another form
        return {}
    return {name: names for name, names in classes.items() if isinstance(names, list)}


def _with_names(rows: Iterable[dict[str, Any]], classes: Classes) -> Iterator[dict[str, Any]]:
    """The rows with the names of classes for their numbers, and null for -1, which marks a row without a class."""
    for row in rows:
        numbers = {name: row[name] for name in classes if isinstance(row.get(name), int)}
        found = {
            name: classes[name][number] if number >= 0 else None
            for name, number in numbers.items()
            if number < len(classes[name])
        }
        yield row | found


def _header(path: Path, row: list[str]) -> list[str]:
    """The names in a table's first line. Raises ValueError where two columns have one name."""
    names = [name.strip().removeprefix("\ufeff") for name in row]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(
            f"{path}: two columns are called {min(twice)!r}; name the columns of a table without a line of names with "
            "--header, or rename one"
        )
    return names


def _of_lines(path: Path, form: Form) -> Iterator[tuple[str, Row]]:
    offset = 0
    for number, line in enumerate(raw_lines(path, form), 1):
        if line.strip(b" \t\r\n\xef\xbb\xbf"):
            yield (
                f"{path}:{number}",
                _object(lambda line=line, at=offset: _of_line(line, path, at, form), f"{path}:{number}"),
            )
        offset += len(line)


def _of_line(line: bytes, path: Path, offset: int, form: Form) -> Any:
    # Files joined by `cat` keep the byte order mark of each.
    return parse_json(decode(line, path, offset, form).removeprefix("\ufeff"), "", "expected one object a line")


def _of_array(path: Path, form: Form) -> Iterator[tuple[str, Row]]:
    for number, value in enumerate(array_values(path, form)):
        place = f"{path}, element {number:,}"
        yield place, value if isinstance(value, BadRow) else _object(lambda value=value: value, place)


def _object(read: Callable[[], Any], place: str) -> Row:
    try:
        value = read()
    except ValueError as error:
        return BadRow(f"{place}: {error}")
    if isinstance(value, dict):
        return value
    return BadRow(f"{place}: {type(value).__name__}; expected an object with the fields of an example")
