"""Reads the folder of a run's checkpoints: which steps it has, the metadata of each, and which one is intact.

    00000500/
      metadata.json     step, validation loss, index of the arrays, and what the caller adds
      state/            the arrays, written by orbax
      integrity.json    the format's number, and a hash of every file above

This module never changes a folder.
"""

import json
import logging
import math
import operator
import re
from pathlib import Path
from typing import Any

from llm_jax.checkpoint import arrays, integrity
from llm_jax.checkpoint.integrity import Damaged
from llm_jax.files.json_files import read_json

METADATA_FILE = "metadata.json"
STATE_FOLDER = "state"

PyTree = Any
logger = logging.getLogger(__name__)


def name_of(step: int) -> str:
    """The folder's name, zero-padded so that a listing is in order."""
    return f"{step:08d}"


def committed_steps(directory: Path) -> list[int]:
    """Steps that have a folder in `directory`, ascending."""
    if not directory.is_dir():
        return []
    return sorted(int(path.name) for path in directory.iterdir() if re.fullmatch(r"\d{8,}", path.name))


def choose(directory: Path, step: int | None = None) -> tuple[int, tuple[str, ...]]:
    """The newest step whose files are all intact, or `step`; and a sentence for each damaged step that was skipped.

    Raises:
        FileNotFoundError: there is no checkpoint.
        Damaged: no checkpoint is intact.
    """
    steps = committed_steps(directory) if step is None else [refuse_unknown(directory, step)]
    if not steps:
        raise FileNotFoundError(f"no checkpoint in {directory} yet")
    problems: list[str] = []
    for candidate in reversed(steps):
        try:
            integrity.verify(directory / name_of(candidate))
        except Damaged as error:
            problems.append(f"the checkpoint of step {candidate} is damaged: {error}")
            continue
        for problem in problems:
            logger.warning("%s; falling back to step %d", problem, candidate)
        return candidate, tuple(problems)
    raise Damaged(f"no intact checkpoint in {directory}: {'; '.join(problems)}")


def read(directory: Path, template: PyTree, step: int, prefix: str = "") -> PyTree:
    """The arrays of a checkpoint that `choose` found intact; with `prefix`, only those with this prefix.

    Raises:
        ValueError: the checkpoint holds another state than `template`.
    """
    folder = directory / name_of(step)
    return arrays.restore(folder.absolute() / STATE_FOLDER, template, read_record(folder)["arrays"], prefix)


def refuse_no_step(step: Any) -> int:
    """`step` as a Python int.

    Raises:
        ValueError: it is not a whole number, 0 or more.
    """
    try:
        number = operator.index(step)
    except TypeError:
        number = -1
    if number < 0:
        raise ValueError(f"a checkpoint's step must be a whole number, 0 or more; got {step!r}")
    return number


def refuse_unknown(directory: Path, step: int) -> int:
    """`step`, if it has a folder.

    Raises:
        FileNotFoundError: it has none; lists the steps that there are.
    """
    steps = committed_steps(directory)
    if step not in steps:
        raise FileNotFoundError(f"no checkpoint of step {step} in {directory}; it has {steps or 'none'}")
    return step


def render_record(step: int, leaves: dict[str, Any], metadata: dict[str, Any], val_loss: float | None) -> str:
    """The text of `metadata.json`; a loss that is not finite becomes null.

    Raises:
        ValueError: `metadata` cannot be written as JSON.
    """
    # `float` converts scalars of NumPy and JAX too.
    measured = float(val_loss) if val_loss is not None and math.isfinite(val_loss) else None
    index = arrays.index_of(leaves)
    record = {"step": step, "val_loss": measured, "arrays": index, "metadata": metadata}
    try:
        return json.dumps(record, indent=1, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"the metadata of step {step}'s checkpoint cannot be written as JSON: {error}") from error


def read_record(folder: Path) -> dict[str, Any]:
    """The content of `metadata.json`.

    Raises:
        Damaged: the file was changed.
    """
    integrity.verify(folder, [METADATA_FILE])
    return read_json(folder / METADATA_FILE)


def val_loss(folder: Path) -> float | None:
    """The checkpoint's validation loss, if it was measured and can be read."""
    try:
        return read_record(folder)["val_loss"]
    except ValueError:  # damaged, so it cannot be kept as the best; `restore` reports the damage
        return None
