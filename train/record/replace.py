"""Runs that never resume (`digits`, `makemore`): written to a temporary folder, which replaces an older run at the end.

After a wrong flag, a diverging loss or an interrupt the older run is still there. The rules for runs that do resume are
in `train.pretrain.run_folder`.
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
    """Yields an empty folder for a run; after the block, which has to write its SUMMARY, it is `runs/name`.

    An older run of that name and command is replaced. If the block raises, the older one is as it was, and nothing is
    left of the new one.

    Raises ValueError for a name that is no plain folder name, FileExistsError for a folder that holds anything else.
    """
    folder = folder_of(runs, name)
    if folder.exists() and any(folder.iterdir()) and not _is_of(command, folder):
        raise FileExistsError(f"{folder} holds something that is not a {command} run: choose another name (--run)")
    with safe(f"nothing was changed in {folder}"), replacing_folder(folder) as scratch:
        yield scratch


def _is_of(command: str, folder: Path) -> bool:
    if (folder / SUMMARY).exists():
        return read_json(folder / SUMMARY).get("command") == command
    # digits used to leave no summary, and a killed makemore none; whatever can be resumed has a config.
    return (folder / METRICS).exists() and not (folder / CONFIG).exists()
