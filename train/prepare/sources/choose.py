"""Which source a command line means: `stdlib`, `hf:NAME`, or files, globs and folders.

Files go by their suffix: `.parquet`, `.jsonl` (or `.ndjson`), anything else is text. One text file alone is a running
text; several are documents. One preparation reads one kind: a mixture is more likely a slip than a wish.
"""

import glob
from collections.abc import Sequence
from pathlib import Path

from train.prepare.slices import Source
from train.prepare.sources.hub import hub_dataset
from train.prepare.sources.tables import JsonLines, Parquet
from train.prepare.sources.text import RunningText, TextFiles, standard_library

# FineWeb's whole is 15 trillion tokens; nobody who names it alone means that.
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
) -> Source:
    """Raises FileNotFoundError if nothing matches, ValueError for a mixture of kinds."""
    if not given:
        raise ValueError("--source names nothing; expected stdlib, files, globs, or hf:NAME")
    special = [name for name in given if name == "stdlib" or name.startswith("hf:")]
    if special and len(given) > 1:
        raise ValueError(
            f"--source {special[0]} stands alone; got {' '.join(given)}. Prepare each into a folder of its own."
        )
    if given[0] == "stdlib":
        return standard_library()
    if special:
        name = given[0].removeprefix("hf:")
        return hub_dataset(name, config or DEFAULT_CONFIGS.get(name), dataset_split, text_column, revision)
    return _files(given, text_column, val_fraction, slice_bytes)


def _files(given: Sequence[str], text_column: str, val_fraction: float, slice_bytes: int) -> Source:
    paths = tuple(dict.fromkeys(path for pattern in given for path in _matches(pattern)))
    kinds = {path: _kind(path) for path in paths}
    first, *others = paths
    for other in others:
        if kinds[other] != kinds[first]:
            raise ValueError(
                f"--source mixes {kinds[first]} ({first}) and {kinds[other]} ({other}); expected one kind. "
                "Narrow the glob, or prepare each kind into a folder of its own."
            )
    if kinds[first] == "parquet":
        return Parquet(paths, tuple(given), text_column, slice_bytes)
    if kinds[first] == "json lines":
        return JsonLines(paths, tuple(given), text_column, slice_bytes)
    if others:
        return TextFiles(paths, tuple(given))
    return RunningText(first, val_fraction, slice_bytes)


def _kind(path: Path) -> str:
    return {".parquet": "parquet", ".jsonl": "json lines", ".ndjson": "json lines"}.get(path.suffix.lower(), "text")


def _matches(pattern: str) -> list[Path]:
    """Sorted files of a path, a folder (recursively, without hidden ones) or a glob; never none."""
    if Path(pattern).is_file():
        return [Path(pattern)]
    pattern_of_folder = f"{glob.escape(pattern)}/**/*" if Path(pattern).is_dir() else pattern
    paths = [Path(name) for name in sorted(glob.glob(pattern_of_folder, recursive=True)) if Path(name).is_file()]
    if not paths:
        raise FileNotFoundError(
            f"--source {pattern}: no such file, and no file matches; expected stdlib, a file, a glob, or hf:NAME"
        )
    return paths
