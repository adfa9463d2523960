"""Files → documents with a label, and FineWeb-Edu's score where a file has a column of it.

Parquet and JSON lines hold a document a row; text files are one document, or one every `lines` lines, joined over the
files of one label (FLORES' LANG.dev and LANG.devtest). Of more than `limit` documents, that many are drawn: algorithm R
(Vitter 1985), so no more are ever in memory.
"""

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from llm_jax.files.content import read_text
from llm_jax.files.json_files import parse_json
from llm_jax.scoring.rows import read_rows
from train.critique.config import CritiqueConfig
from train.prepare.sources.arrow import text_of
from train.prepare.sources.matches import matches

ROWS = (".parquet", ".jsonl", ".ndjson", ".json")
LANGUAGE = "language"


class Document(NamedTuple):
    text: str
    place: str  # file and row, for people
    label: str  # empty: none
    score: float | None  # FineWeb-Edu's


class Read(NamedTuple):
    documents: list[Document]
    found: int  # before the draw
    empty: int  # left out: empty, or white space alone
    label: str  # what the labels are; empty: there are none


def read(options: CritiqueConfig) -> Read:
    """The documents, in the order of the files.

    Raises:
        FileNotFoundError: nothing matches.
        ValueError: a file cannot be read, has no such column, or there is no document.
    """
    if not options.files:
        raise ValueError("no file given: name parquet, JSON lines or text files of documents")
    paths, _ = matches(options.files, "FILES")
    rng = random.Random(options.seed)
    kept: list[tuple[int, Document]] = []
    found = empty = 0
    for document in _documents(paths, options):
        if not document.text.strip():
            empty += 1
            continue
        found += 1
        if len(kept) < options.limit:
            kept.append((found, document))
        elif (at := rng.randrange(found)) < options.limit:
            kept[at] = (found, document)
    if not found:
        raise ValueError(f"{', '.join(map(str, paths[:3]))}: no document in {len(paths):,} files: they are empty")
    documents = [document for _, document in sorted(kept, key=lambda one: one[0])]
    has_labels = any(one.label for one in documents)
    by_rows = any(_suffix(path) in ROWS for path in paths)
    label = (options.label or (LANGUAGE if by_rows else "file name")) if has_labels else ""
    return Read(documents, found, empty, label)


def _documents(paths: list[Path], options: CritiqueConfig) -> Iterator[Document]:
    texts: dict[str, list[Path]] = {}
    for path in paths:
        if _suffix(path) in ROWS:
            yield from _rows(path, options)
        else:
            texts.setdefault(path.name.split(".")[0], []).append(path)
    if texts and options.label:
        some = next(iter(texts.values()))[0]
        raise ValueError(
            f"--label {options.label}: {some} is text and has no columns; leave --label out, and the label is the "
            f"file's name ({some.name.split('.')[0]})"
        )
    for label, files in texts.items():
        yield from _of_text(label, files, options.lines)


def _of_text(label: str, files: list[Path], lines: int) -> Iterator[Document]:
    if not lines:
        for path in files:
            yield Document(_text(path), str(path), label, None)
        return
    every = [line for path in files for line in _text(path).split("\n") if line.strip()]
    where = ", ".join(path.name for path in files)
    # A last document of fewer lines would be removed for its length alone; it stays only where it is all there is.
    for start in range(0, max(len(every) - lines + 1, min(len(every), 1)), lines):
        place = f"{where}, lines {start + 1}–{min(start + lines, len(every))}"
        yield Document("\n".join(every[start : start + lines]), place, label, None)


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error.reason} at byte {error.start:,}); convert it first") from None


def _rows(path: Path, options: CritiqueConfig) -> Iterator[Document]:
    for number, row in enumerate(_table(path), 1):
        where = f"{path}, row {number:,}"
        if options.text_column not in row:
            raise ValueError(
                f"{where}: no column {options.text_column!r}; there are {', '.join(sorted(row)) or 'none'}. Choose one "
                "with --text-column"
            )
        if options.label and options.label not in row:
            raise ValueError(f"{where}: no column {options.label!r} for --label; there are {', '.join(sorted(row))}")
        try:
            text = text_of(row[options.text_column], options.text_column)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        if not isinstance(text, str):
            raise ValueError(
                f"{where}: {options.text_column!r} holds {str(text)[:40]!r}; expected text. Choose another "
                "--text-column"
            )
        label = row.get(options.label or LANGUAGE)
        yield Document(text, where, "" if label is None else str(label), _score(where, row))


def _table(path: Path) -> Iterator[Mapping[str, Any]]:
    if _suffix(path) == ".parquet":
        if not path.stat().st_size:
            raise ValueError(f"{path} is empty; expected a parquet file. Copy it again")
        yield from read_rows(path)
        return
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.strip():
            yield parse_json(line, f"{path}:{number}", "expected one object a line", dict)


def _score(where: str, row: Mapping[str, Any]) -> float | None:
    """`int_score`, as FineWeb-Edu thresholds it, or `score` rounded."""
    value = row.get("int_score", row.get("score"))
    if value is None:
        return None
    try:
        return float(round(float(value)))
    except (TypeError, ValueError):
        raise ValueError(f"{where}: the score holds {str(value)[:40]!r}; expected a number") from None


def _suffix(path: Path) -> str:
    """The suffix, without that of a compression."""
    suffixes = [one.lower() for one in path.suffixes[-2:]]
    if suffixes and suffixes[-1] in (".gz", ".zst", ".bz2", ".xz"):
        suffixes.pop()
    return suffixes[-1] if suffixes else ""
