"""Rows of files, folders and datasets: each with its place, for messages, and its fields by name.

Files are told by their contents, as in `train.prepare.sources`, whatever they are called. Those that a folder brought
along and that hold no rows, such as a README, are left out, which is said.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_jax.files.content import Form
from llm_jax.files.json_files import parse_json
from train.prepare.slices import BadRow, decode
from train.prepare.sources.arrow import BATCH_ROWS, arrow_batches
from train.prepare.sources.delimited import csv_rows, raw_lines
from train.prepare.sources.json_array import array_values
from train.prepare.sources.kinds import NotReadError, recognised
from train.prepare.sources.matches import matches, say_left_out
from train.prepare.sources.tables import open_parquet

HUB = "hf:"
DATASET_DICT = "dataset_dict.json"  # what `DatasetDict.save_to_disk` writes
OF_SAVED = {"dataset_info.json", "state.json", DATASET_DICT}
_SPLIT = re.compile(
    r"(?:^|[-_.])(train|training|test|testing|validation|valid|val|dev|eval)(?=[-_.0-9]|$)", re.IGNORECASE
)
SPLITS = {"training": "train", "testing": "test", "valid": "validation", "val": "validation", "dev": "validation"}
LINES_OF_OTHERS = 2

Row = dict[str, Any] | BadRow


@dataclass(frozen=True)
class Tables:
    """What the flag `flag` names; `header` are the names of the columns of a table that has no line of them."""

    given: tuple[str, ...]
    header: tuple[str, ...] = ()
    split: str = "train"
    columns: tuple[str, ...] = ()  # some that are looked for, by which text is told from a table
    flag: str = "--data"

    def files(self) -> list[Path]:
        """The files, in order. Raises OSError or ValueError that names what is not there."""
        if not self.given:
            raise ValueError(f"{self.flag} names nothing; expected files, globs, folders or hf:NAME")
        return [path for given in self.given if not given.startswith(HUB) for path in self._of(given)]

    def datasets(self) -> list[str]:
        return [given.removeprefix(HUB) for given in self.given if given.startswith(HUB)]

    def rows(self) -> Iterator[tuple[str, Row]]:
        """(place, fields) of every row. Raises ValueError that names a file that cannot be read on."""
        found = False
        for given in self.given:
            if given.startswith(HUB):
                rows: Iterator = self._of_hub(given.removeprefix(HUB))
            else:
                rows = (row for path in self._of(given) for row in self._of_file(path))
            for row in rows:
                found = True
                yield row
        if not found:
            raise ValueError(f"{self.flag} {' '.join(self.given)}: no rows; expected at least one example")

    def _of(self, given: str) -> list[Path]:
        folder = Path(given)
        if (folder / DATASET_DICT).is_file():
            given = str(folder / self.split)
            if not Path(given).is_dir():
                there = sorted(path.name for path in folder.iterdir() if path.is_dir())
                raise ValueError(
                    f"{self.flag} {folder}: no split {self.split!r}; there are {', '.join(there)}. "
                    "Choose one with --dataset-split."
                )
        paths, named = matches([given], self.flag)
        if Path(given).is_dir():
            paths = self._of_split(folder, [path for path in paths if path.name not in OF_SAVED])
        kept, reasons = [], []
        for path in paths:
            try:
                self._kind(path)
                kept.append(path)
            except NotReadError as error:
                if path in named or len(paths) == 1:
                    raise
                reasons.append(error)
                say_left_out(str(error).removeprefix(f"{path}: "), [path])
        if not kept and reasons:
            raise reasons[0]
        return kept

    def _of_split(self, folder: Path, paths: list[Path]) -> list[Path]:
        """The files of one split, where the names in a folder tell splits apart."""
        split_of = {path: _split_of(path.relative_to(folder)) for path in paths}
        wanted = SPLITS.get(self.split, self.split)
        if len(set(split_of.values()) - {None}) < LINES_OF_OTHERS:
            return paths
        kept = [path for path, split in split_of.items() if split == wanted]
        if not kept:
            there = sorted({split for split in split_of.values() if split})
            raise ValueError(
                f"{self.flag} {folder}: no split {self.split!r}; there are {', '.join(there)}. "
                "Choose one with --dataset-split, or name the files."
            )
        say_left_out(f"of another split than {wanted!r}", [path for path in paths if path not in kept])
        return kept

    def _kind(self, path: Path) -> tuple[str, Form]:
        """Raises NotReadError for a file that holds no rows."""
        kind, content = recognised(path, "")
        for column in self.columns:
            if kind != "text":
                break
            kind, content = recognised(path, column)
        if kind != "text":
            return kind, content.form
        if self.header:
            return "csv", content.form
        if not content.head_text.strip():
            raise NotReadError(f"{path}: empty; expected rows of examples")
        raise NotReadError(
            f"{path}: plain text, in which no examples are told apart; expected JSON, JSON lines, CSV, TSV or parquet. "
            "A table without a line of names needs --header; text alone is for `python -m train prepare`"
        )

    def _of_file(self, path: Path) -> Iterator[tuple[str, Row]]:
        kind, form = self._kind(path)
        if kind == "csv":
            return self._of_csv(path, form)
        if kind == "json lines":
            return _of_lines(path, form)
        if kind == "json array":
            return _of_array(path, form)
        if kind == "arrow":
            batches: Any = arrow_batches(path)
        else:
            batches = open_parquet(path).iter_batches(batch_size=BATCH_ROWS)
        rows = (row for batch in batches for row in batch.to_pylist())
        return ((f"{path}, row {number:,}", row) for number, row in enumerate(rows))

    def _of_csv(self, path: Path, form: Form) -> Iterator[tuple[str, Row]]:
        names: Sequence[str] = self.header
        hint = next(iter(self.columns), "")
        for line, row in csv_rows(path, form, hint, quotes="csv"):
            if isinstance(row, BadRow):
                yield f"{path}:{line}", row
            elif not names:
                names = [name.strip().removeprefix("\ufeff") for name in row]
                if twice := {name for name in names if names.count(name) > 1}:
                    raise ValueError(
                        f"{path}: two columns are called {min(twice)!r}; name the columns of a table "
                        "without a line of names with --header, or rename one"
                    )
            elif len(row) != len(names):
                raise ValueError(
                    f"{path}:{line}: {len(row)} fields, and --header names {len(names)}: {' '.join(names)}. Name every "
                    "column, in order"
                )
            else:
                yield f"{path}:{line}", {name: _of_field(field) for name, field in zip(names, row, strict=True)}

    def _of_hub(self, name: str) -> Iterator[tuple[str, Row]]:
        from datasets import load_dataset

        try:
            rows: Any = load_dataset(name, split=self.split)
        except (ValueError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(
                f"{self.flag} hf:{name} (split {self.split!r}): {reason}. Check the name and the network, "
                "or give its files"
            ) from error
        for number, row in enumerate(rows):
            yield f"hf:{name}, row {number:,}", row


def _split_of(path: Path) -> str | None:
    """The split that a name in a folder tells, the file's own before its folders'."""
    for part in reversed(path.parts):
        if match := _SPLIT.search(part):
            return SPLITS.get(match[1].lower(), match[1].lower())
    return None


def _of_field(field: str) -> Any:
    """A field of CSV that holds messages has them as JSON."""
    if field.lstrip()[:2].rstrip() in ("[", "[{"):
        try:
            value = json.loads(field)
        except (ValueError, RecursionError):
            return field
        if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
            return value
    return field


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
