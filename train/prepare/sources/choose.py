"""Opens the source that `--source` names: `stdlib`, `hf:NAME`, or files, globs and folders.

A file's kind is recognised by its contents (`kinds.py`): parquet, Arrow, JSON lines, a JSON array, CSV or TSV; other
text is plain text. Files may be compressed. A single text file is one running text. Of several text files, each is a
document; with a separator, each text between two separators is one. One preparation reads one kind of file, because
several kinds in one command are usually a mistake.
"""

from collections.abc import Sequence
from pathlib import Path

from llm_jax.files.content import Form
from train.prepare.slices import Source
from train.prepare.sources.divided import DividedText
from train.prepare.sources.hub import hub_dataset
from train.prepare.sources.kinds import NotReadError, recognised
from train.prepare.sources.matches import matches, warn_left_out
from train.prepare.sources.rows import Rows
from train.prepare.sources.tables import JsonLines, Parquet
from train.prepare.sources.text import RunningText, TextFiles, standard_library

# All of FineWeb is 15 trillion tokens. Its name without --config means the sample.
DEFAULT_CONFIGS = {"HuggingFaceFW/fineweb": "sample-10BT", "HuggingFaceFW/fineweb-edu": "sample-10BT"}
COLUMN = "text"  # the default of --text-column


def open_source(
    given: Sequence[str],
    *,
    text_column: str,
    config: str | None,
    dataset_split: str,
    revision: str | None,
    val_fraction: float,
    slice_bytes: int,
    separator: str | None = None,
) -> Source:
    """The source of the given names.

    Args:
        given: the values of `--source`.
        text_column: the field that holds the text.
        config: an hf: dataset's configuration.
        dataset_split: its split.
        revision: its commit.
        val_fraction: share of a running text for validation.
        slice_bytes: bytes of text in one slice.
        separator: text between two documents of plain text.

    Raises:
        FileNotFoundError: nothing matches.
        ValueError: the files are of several kinds, cannot be read, or an option does not fit them.
    """
    if not given:
        raise ValueError("--source names nothing; expected stdlib, files, globs, or hf:NAME")
    special = [name for name in given if name == "stdlib" or name.startswith("hf:")]
    if special and len(given) > 1:
        raise ValueError(
            f"--source {special[0]} cannot be combined with others; got {' '.join(given)}. Prepare each into a folder "
            "of its own."
        )
    if special and separator is not None:
        raise ValueError(
            f"--document-separator is for plain text; {special[0]} holds documents already: leave the option out"
        )
    for flag, value in (("--config", config), ("--revision", revision)):
        if value is not None and not given[0].startswith("hf:"):
            raise ValueError(f"{flag} {value} is for hf: datasets; {given[0]} is none: leave the option out")
    if given[0] == "stdlib":
        _refuse_column(text_column, "stdlib")
        return standard_library()
    if special:
        name, _, chosen = given[0].removeprefix("hf:").partition(":")
        if chosen and config not in (None, chosen):
            raise ValueError(
                f"--config {config} is another configuration than that of {given[0]}: leave one of them out"
            )
        config = config or chosen or DEFAULT_CONFIGS.get(name)
        return hub_dataset(name, config, dataset_split, text_column, revision)
    return _files(given, text_column, val_fraction, slice_bytes, separator)


def _files(given: Sequence[str], column: str, val_fraction: float, slice_bytes: int, separator: str | None) -> Source:
    kinds, forms = _kinds(given, column)
    first, *others = paths = tuple(kinds)
    for other in others:
        if kinds[other] != kinds[first]:
            raise ValueError(
                f"--source mixes {kinds[first]} ({first}) and {kinds[other]} ({other}); expected one kind. "
                "Narrow the glob, or prepare each kind into a folder of its own."
            )
    kind = kinds[first]
    if separator is not None and kind != "text":
        raise ValueError(
            f"--document-separator is for plain text; {first} is {kind}, whose rows are documents: leave the option out"
        )
    if kind == "text":
        _refuse_column(column, first)
    if separator is not None:
        return DividedText(paths, tuple(given), separator, slice_bytes, forms)
    if kind == "parquet":
        return Parquet(paths, tuple(given), column, slice_bytes)
    if kind == "json lines":
        return JsonLines(paths, tuple(given), column, slice_bytes, forms)
    if kind != "text":
        return Rows(kind, paths, tuple(given), column, slice_bytes, forms)
    if others:
        return TextFiles(paths, tuple(given), forms)
    return RunningText(first, val_fraction, slice_bytes, forms[first])


def _refuse_column(column: str, name: str | Path) -> None:
    if column != COLUMN:
        raise ValueError(
            f"--text-column {column}: {name} is plain text, which has no columns: leave the option out. In a table "
            "without a header, columns are counted from 1"
        )


def _kinds(given: Sequence[str], column: str) -> tuple[dict[Path, str], dict[Path, Form]]:
    """Kind and form of every file.

    A file of a kind that is not read is an error if the user named it, or if no other file is left. If a folder or a
    glob matched it, it is left out with a warning.
    """
    files, named = matches(given)
    kinds: dict[Path, str] = {}
    forms: dict[Path, Form] = {}
    refused: dict[Path, NotReadError] = {}
    for path in files:
        try:
            kinds[path], content = recognised(path, column)
            forms[path] = content.form
        except NotReadError as error:
            if path in named:
                raise
            refused[path] = error
    if not kinds:
        raise next(iter(refused.values()))
    reasons = [str(error).removeprefix(f"{path}: ") for path, error in refused.items()]
    for reason in dict.fromkeys(reasons):
        warn_left_out(reason, [path for path, other in zip(refused, reasons, strict=True) if other == reason])
    if set(kinds.values()) - {"text"}:
        empty = [path for path, kind in kinds.items() if kind == "text" and not path.stat().st_size]
        warn_left_out("empty", empty)  # such as the file _SUCCESS that Spark writes beside its tables
        kinds = {path: kind for path, kind in kinds.items() if path not in empty}
    return kinds, forms
