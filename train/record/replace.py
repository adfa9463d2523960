"""Runs that never resume (`digits`, `makemore`) go to a temporary folder, which replaces an older run at the end.

So the older run is still there after a wrong flag, a diverging loss or an interrupt. The rules for runs that do resume
are in `train.pretrain.run_folder`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llm_jax.files import replacing_folder
from llm_jax.files.faults import safe
from llm_jax.files.json_files import read_json
from llm_jax.runs import CONFIG, METRICS, SUMMARY, folder_of


@contextmanager
def replace_run(runs: Path, name: str, command: str) -> Iterator[Path]:
    """Yields an empty folder for a run, and renames it to `runs/name` after the block. The block must write SUMMARY.

    An older run of that name and command is replaced. If the block raises, the older run stays unchanged and the new
    folder is removed.

    Raises:
        ValueError: `name` is not a plain folder name.
        FileExistsError: the folder holds something that is not a run of this command.
    """
    folder = folder_of(runs, name)
    if folder.exists() and any(folder.iterdir()) and not _is_of(command, folder):
        raise FileExistsError(f"{folder} holds something that is not a {command} run: choose another name (--run)")
    with safe(f"nothing was changed in {folder}"), replacing_folder(folder) as scratch:
        yield scratch


def _is_of(command: str, folder: Path) -> bool:
    if (folder / SUMMARY).exists():
        return read_json(folder / SUMMARY).get("command") == command
    # Older versions of digits wrote no summary, and a killed makemore has none. A run that can be resumed has a config.
    return (folder / METRICS).exists() and not (folder / CONFIG).exists()
