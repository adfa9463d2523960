"""Where the rows of a task are on this machine: a file, a folder as a data set's repository has it, or the hub's cache.

A repository has a folder for each subset (`abstract_algebra/`, `main/`) or none, and in it a file or several for each
split: `test-00000-of-00001.parquet`, `test.jsonl`. A repository whose files name no split has only `train`.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from llm_jax.scoring.rows import SUFFIXES, read_rows

Row = dict[str, Any]
SPLITS = ("train", "test", "validation", "valid", "val", "dev", "eval", "auxiliary")
EXAMPLES = ("train", "dev")  # roles of --data beside the rows to score
SUBSET_COLUMN = "subject"  # by which a file of all subsets is divided


class Sources(NamedTuple):
    """What --data gives for a task or a group of tasks."""

    test: Path  # file or folder
    examples: Path | None = None
    role: str = EXAMPLES[0]  # as the command line calls the examples


class Placed(NamedTuple):
    """A row, and where it stands."""

    row: Row
    path: Path
    number: int  # in its file, from 1


def parse_data(assignments: Sequence[str]) -> dict[str, dict[str, Path]]:
    """`TASK=PATH` and `TASK:train=PATH` (or `:dev`) as task → role → path.

    Raises:
        ValueError: an assignment has another form.
    """
    files: dict[str, dict[str, Path]] = {}
    for assignment in assignments:
        name, equals, path = assignment.partition("=")
        task, _, role = name.partition(":")
        if not (equals and task and path) or role not in ("", *EXAMPLES):
            raise ValueError(
                "--data takes TASK=FILE, or TASK:train=FILE (TASK:dev=FILE) for the examples of --num-fewshot; got "
                f"{assignment!r}"
            )
        files.setdefault(task, {})[role or "test"] = Path(path)
    return files


def sources_of(name: str, paths: Mapping[str, Path]) -> Sources:
    """The paths that --data gives for a task.

    Raises:
        ValueError: there are only examples, or two files of them.
    """
    roles = [role for role in EXAMPLES if role in paths]
    if "test" not in paths:
        raise ValueError(f"--data {name}:{roles[0]}=… gives only examples: add {name}=FILE with the rows to score")
    if len(roles) > 1:
        raise ValueError(f"--data gives examples of {name} twice, as train and as dev: leave one out")
    return Sources(paths["test"], paths[roles[0]], roles[0]) if roles else Sources(paths["test"])


def from_hub_cache(repository: str) -> Sources | None:
    """The folder of a data set that was downloaded with `hf download --repo-type dataset`; None if it was not."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Sources(Path(snapshot_download(repository, repo_type="dataset", local_files_only=True)))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError):
        return None


def rows_of(path: Path, subset: str | None, split: str, limit: int | None = None) -> list[Placed] | None:
    """The rows of a split; None if a folder has no such split.

    Raises:
        FileNotFoundError, ValueError: as `read_rows`; or a file of several subsets has no row of this one.
    """
    files = _files_of(path, subset, split) if path.is_dir() else [path]
    if not files:
        return None
    most = limit if len(files) == 1 and subset is None else None
    rows = [Placed(row, file, number) for file in files for number, row in enumerate(read_rows(file, most), 1)]
    if subset is not None and all(SUBSET_COLUMN in one.row for one in rows):
        named = {str(one.row[SUBSET_COLUMN]) for one in rows}
        rows = [one for one in rows if one.row[SUBSET_COLUMN] == subset]
        if not rows:
            near = ", ".join(sorted(named)[:4])
            raise ValueError(f"{files[0]} has no row whose {SUBSET_COLUMN} is {subset!r}; it has {near}")
    return rows[:limit]


def _files_of(folder: Path, subset: str | None, split: str) -> list[Path]:
    """The data files of a split, in the first place of the folder that has any."""
    places = [folder / subset, folder / "data" / subset] if subset else []
    for place in [*places, folder / "all", folder / "data", folder]:
        files = sorted(one for one in place.glob("*") if one.suffix in SUFFIXES and one.is_file())
        files += sorted(one for one in (place / split).glob("*") if one.suffix in SUFFIXES and one.is_file())
        named = [one for one in files if split in _words(one) or one.parent.name == split]
        if not named and split == "train" and not any(set(SPLITS) & {*_words(one), one.parent.name} for one in files):
            named = files
        if named:
            return named
    return []


def _words(path: Path) -> list[str]:
    return re.split(r"[^a-z]+", path.stem.lower())
