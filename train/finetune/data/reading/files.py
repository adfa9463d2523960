"""The files that a name, a glob or a folder means, each with the kind of its content.

Files are recognised by their contents, as in `train.prepare.sources`, whatever their names. Files of a folder that hold
no rows, such as a README, are left out with a message. Of a folder whose names tell splits apart,
one split is read.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from llm_jax.files.content import Content
from train.prepare.sources.kinds import NotReadError, recognised
from train.prepare.sources.matches import matches, warn_left_out

VALIDATION = "--val-data"
DATASET_DICT = "dataset_dict.json"  # what `DatasetDict.save_to_disk` writes
OF_SAVED = {"dataset_info.json", "state.json", DATASET_DICT}
FOR_VALIDATION = ("validation", "valid", "val", "dev", "eval", "test")  # the first that is there
SPLITS = {"training": "train", "testing": "test", "valid": "validation", "val": "validation", "dev": "validation"}
_SPLIT = re.compile(
    r"(?:^|[-_.])(train|training|test|testing|validation|valid|val|dev|eval)(?=[-_.0-9]|$)", re.IGNORECASE
)


def files_of(
    given: str, flag: str, split: str | None, columns: Sequence[str], has_header: bool
) -> dict[Path, tuple[str, Content]]:
    """Kind and content of every file that `given` means, in order.

    Args:
        given: a file, a glob or a folder.
        flag: what the user gave it with, for messages.
        split: which one is read of a folder with several; None: one for validation.
        columns: names of columns, by which text is told from a table.
        has_header: whether the names of the columns are given.

    Raises:
        OSError: nothing matches, or something may not be read.
        ValueError: there is no such split, or a file holds no rows.
    """
    folder = Path(given)
    if (folder / DATASET_DICT).is_file():
        there = [path.name for path in folder.iterdir() if path.is_dir()]
        split = split or for_validation(there, flag, folder)
        if split not in there:
            raise _no_split(flag, folder, split, there)
        given = str(folder / split)
    paths, named = matches([given], flag)
    if Path(given).is_dir():
        paths = _of_split(folder, [path for path in paths if path.name not in OF_SAVED], flag, split)
    kept: dict[Path, tuple[str, Content]] = {}
    refused: list[NotReadError] = []
    for path in paths:
        try:
            kept[path] = _kind(path, columns, has_header)
        except NotReadError as error:
            if path in named or len(paths) == 1:
                raise
            refused.append(error)
            warn_left_out(str(error).removeprefix(f"{path}: "), [path])
    if not kept and refused:
        raise refused[0]
    return kept


def for_validation(there: Sequence[str], flag: str, where: str | Path) -> str:
    """The split that is read for validation where none is named. Raises ValueError where there is none."""
    for name in FOR_VALIDATION:
        if name in there:
            return name
    raise _no_split(flag, where, FOR_VALIDATION[0], there)


def _of_split(folder: Path, paths: list[Path], flag: str, split: str | None) -> list[Path]:
    """The files of one split, where the names in a folder tell splits apart."""
    split_of = {path: _split_of(path.relative_to(folder)) for path in paths}
    there = set(split_of.values()) - {None}
    if len(there) < 2:
        return paths
    split = split or for_validation([one for one in there if one], flag, folder)
    wanted = SPLITS.get(split, split)
    kept = [path for path in paths if split_of[path] == wanted]
    if not kept:
        raise _no_split(flag, folder, split, [one for one in there if one])
    warn_left_out(f"of another split than {wanted!r}", [path for path in paths if path not in kept])
    return kept


def _no_split(flag: str, where: str | Path, split: str, there: Sequence[str]) -> ValueError:
    names = ", ".join(sorted(there))
    return ValueError(f"{flag} {where}: no split {split!r}; there are {names}. Choose one with {chooser(flag)}")


def chooser(flag: str) -> str:
    """The flag that names the split of what `flag` names."""
    return "--val-split" if flag == VALIDATION else "--dataset-split"


def _split_of(path: Path) -> str | None:
    """The split that a name in a folder tells, the file's own before its folders'."""
    for part in reversed(path.parts):
        if match := _SPLIT.search(part):
            return SPLITS.get(match[1].lower(), match[1].lower())
    return None


def _kind(path: Path, columns: Sequence[str], has_header: bool) -> tuple[str, Content]:
    """Raises NotReadError for a file that holds no rows."""
    kind, content = recognised(path, "")
    for column in columns:
        if kind != "text":
            break
        kind, content = recognised(path, column)
    if kind != "text":
        return kind, content
    if has_header:
        return "csv", content
    if not content.head_text.strip():
        raise NotReadError(f"{path}: empty; expected rows of examples")
    raise NotReadError(
        f"{path}: plain text, in which no examples are told apart; expected JSON, JSON lines, CSV, TSV or parquet. "
        "A table without a line of names needs --header; text alone is for `python -m train prepare`"
    )
