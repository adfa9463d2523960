"""Which source a command line means: `stdlib`, `hf:NAME`, or files, globs and folders.

Files go by their contents (`kinds.py`), whatever their names say: parquet, Arrow, JSON lines, a JSON array, CSV or TSV,
anything else that is text is plain text. They may be compressed. One text file alone is a running text; several are
documents; with a separator, the text between two separators is a document. One preparation reads one kind of file:
several kinds in one command are usually a mistake.
"""

from collections.abc import Sequence
from pathlib import Path

from llm_jax.files.content import Form
from train.prepare.slices import Source
from train.prepare.sources.divided import DividedText
from train.prepare.sources.hub import hub_dataset
from train.prepare.sources.kinds import NotReadError, recognised
from train.prepare.sources.matches import matches, say_left_out
from train.prepare.sources.rows import Rows
from train.prepare.sources.tables import JsonLines, Parquet
from train.prepare.sources.text import RunningText, TextFiles, standard_library

# All of FineWeb is 15 trillion tokens. Its name without --config means the sample.
DEFAULT_CONFIGS = {"HuggingFaceFW/fineweb": "sample-10BT", "HuggingFaceFW/fineweb-edu": "sample-10BT"}


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
    """Raises FileNotFoundError if nothing matches, ValueError for a mixture of kinds."""
    if not given:
        raise ValueError("--source names nothing; expected stdlib, files, globs, or hf:NAME")
    special = [name for name in given if name == "stdlib" or name.startswith("hf:")]
    if special and len(given) > 1:
        raise ValueError(
            f"--source {special[0]} stands alone; got {' '.join(given)}. Prepare each into a folder of its own."
        )
    if special and separator is not None:
        raise ValueError(f"--document-separator divides plain text; {special[0]} holds documents already: leave it out")
    if given[0] == "stdlib":
        return standard_library()
    if special:
        name = given[0].removeprefix("hf:")
        return hub_dataset(name, config or DEFAULT_CONFIGS.get(name), dataset_split, text_column, revision)
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
            f"--document-separator divides plain text; {first} is {kind}, whose rows are documents: leave it out"
        )
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


def _kinds(given: Sequence[str], column: str) -> tuple[dict[Path, str], dict[Path, Form]]:
    """Kind and form of every file. One that is not read is an error where it was named itself, or nothing else is left;
    where a folder or a glob brought it, it is left out and said."""
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
        say_left_out(reason, [path for path, other in zip(refused, reasons, strict=True) if other == reason])
    if set(kinds.values()) - {"text"}:
        empty = [path for path, kind in kinds.items() if kind == "text" and not path.stat().st_size]
        say_left_out("empty", empty)  # such as Spark's _SUCCESS beside its tables
        kinds = {path: kind for path, kind in kinds.items() if path not in empty}
    return kinds, forms
