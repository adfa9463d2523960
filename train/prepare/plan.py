"""The plan of a preparation, written to the disk before the work begins.

`DIR/.prepare/plan.json` holds the recipe (the options that decide the result), the units of work, and the size and time
of modification of each input file. A second run after a crash, or another task of a job array, reads this plan instead
of making one. It refuses to continue if its own recipe differs or an input file was edited. At the end, manifest.json
gets the recipe and `.prepare` is removed.
"""

import contextlib
import shutil
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from llm_jax.files import write
from llm_jax.files.json_files import read_json, write_json
from train.data import manifest as manifests
from train.data.shards import SUFFIXES
from train.prepare.slices import Slice, Unit, stamps

PLAN = "plan.json"
PARTS = "parts"
PLANNED = "planned"  # written when plan and tokenizer are whole
PLANNING_SECONDS = 4 * 3600.0  # how long tasks wait for the first one, which may train a tokenizer on 200 MB of text


@dataclass(frozen=True)
class UnitPlan:
    """The units of work of one preparation, in order, and where their results are kept."""

    folder: Path  # of the shards
    recipe: dict[str, Any]
    units: list[Unit]

    @property
    def scratch(self) -> Path:
        """Folder of plan, tokenizer and parts, removed at the end."""
        return scratch_folder(self.folder)

    @property
    def tokenizer_folder(self) -> Path:
        return self.scratch / "tokenizer"

    def part(self, number: int) -> Path:
        """File of the tokens of unit `number`, kept until the shards are written."""
        return self.scratch / PARTS / f"{number:06}.npz"

    def save(self) -> None:
        (self.scratch / PARTS).mkdir(parents=True, exist_ok=True)
        units = [[astuple(piece) for piece in unit] for unit in self.units]
        write_json(self.scratch / PLAN, {"recipe": self.recipe, "units": units, "files": stamps(self.units)})


def scratch_folder(folder: Path) -> Path:
    return folder / manifests.UNFINISHED


def read_plan(folder: Path, recipe: dict[str, Any], may_be_edited: bool = False) -> UnitPlan | None:
    """The plan of an interrupted run, or None.

    Args:
        may_be_edited: whether the user may have edited the input since. If so, the answer is None, and `keep_parts`
            keeps the parts of unchanged files.

    Raises:
        ValueError: the plan is for another recipe, or, without `may_be_edited`, an input file was edited.
    """
    path = scratch_folder(folder) / PLAN
    if not path.exists():
        return None
    fields = read_json(path)
    if may_be_edited and _with_files_of(recipe, fields["recipe"]) != fields["recipe"]:
        refuse_other_recipe(folder, _with_files_of(recipe, fields["recipe"]), recipe, "begun")
        return None
    refuse_other_recipe(folder, fields["recipe"], recipe, "begun")
    plan = UnitPlan(folder, recipe, [tuple(Slice(*piece) for piece in unit) for unit in fields["units"]])
    then, now = fields.get("files", {}), stamps(plan.units)
    if edited := [name for name, stamp in then.items() if now.get(name) != stamp]:
        if may_be_edited:
            return None
        raise ValueError(
            f"{edited[0]}: edited since the preparation of {folder} began ({len(edited)} of {len(then)} input files "
            f"have another size or time of modification). Remove {scratch_folder(folder)} to start again."
        )
    return plan


def once(folder: Path, make: Callable[[], None]) -> None:
    """Has the first of several tasks make plan and tokenizer, and the others wait until both are whole.

    Each then reads them by itself, without a lock. Reading looks at every input file: a thousand tasks that did it one
    after the other would wait for hours on a network's file system.

    Raises:
        TimeoutError: another task has been planning for `PLANNING_SECONDS`.
    """
    scratch, until = scratch_folder(folder), time.monotonic() + PLANNING_SECONDS
    ready = (scratch / PLANNED, scratch / PLAN, scratch / "tokenizer" / "tokenizer.json")
    while not all(path.exists() for path in ready):
        with contextlib.suppress(Timeout), FileLock(scratch / "planning", timeout=1):
            if not all(path.exists() for path in ready):
                make()
                write(ready[0], b"")
            return
        if time.monotonic() > until:
            raise TimeoutError(
                f"{folder}: another task has been planning for {PLANNING_SECONDS / 3600:.0f} hours; see its log, and "
                "submit this task again when it is done"
            )


def keep_parts(plan: UnitPlan, tokenizer_kept: bool) -> int:
    """Replaces the plan on the disk, keeps its parts whose files are unchanged, and removes the others.

    Args:
        plan: the new plan.
        tokenizer_kept: whether the tokenizer is still the same. One that was made from the text changes with the text,
            and then no part is kept.

    Returns:
        How many parts are kept.
    """
    path = plan.scratch / PLAN
    if not path.exists():
        return 0
    fields, now = read_json(path), stamps(plan.units)
    then = fields.get("files", {})
    numbers = {unit: number for number, unit in enumerate(plan.units)}
    kept_folder = plan.scratch / "kept"
    (plan.scratch / PARTS).mkdir(parents=True, exist_ok=True)
    shutil.rmtree(kept_folder, ignore_errors=True)
    kept_folder.mkdir()
    for number, pieces in enumerate(fields["units"]):
        unit = tuple(Slice(*piece) for piece in pieces)
        is_same = all(name in now and now[name] == then.get(name) for name in stamps([unit]))
        if tokenizer_kept and is_same and unit in numbers and plan.part(number).exists():
            plan.part(number).rename(kept_folder / plan.part(numbers[unit]).name)
    shutil.rmtree(plan.scratch / PARTS)
    if not tokenizer_kept:
        shutil.rmtree(plan.tokenizer_folder, ignore_errors=True)
    for shard in (*plan.folder.glob("train_*.bin"), *plan.folder.glob("val_*.bin")):
        shard.unlink()  # written by an interrupted assembly
    # Before the parts are moved back: a run that is killed here loses parts, but never takes one for another.
    plan.save()
    kept = list(kept_folder.iterdir())
    for part in kept:
        part.rename(plan.scratch / PARTS / part.name)
    return len(kept)


def _with_files_of(requested: dict[str, Any], existing: dict[str, Any]) -> dict[str, Any]:
    """The existing recipe with the requested one's files: their number, sizes and names."""
    keys = ("files", "bytes", "names_and_sizes")
    files = {key: requested["input"][key] for key in keys if key in requested["input"]}
    return {**existing, "input": {**existing["input"], **files}}


def refuse_other_recipe(folder: Path, existing: dict[str, Any], requested: dict[str, Any], state: str) -> None:
    """Compares the recipe in a folder with the one of this command.

    Args:
        state: "begun" or "finished", for the message.

    Raises:
        ValueError: they differ. The message names every such setting with both values.
    """
    existing, requested = _flat(existing), _flat(requested)
    differences = [
        f"{key}: {existing.get(key)!r} there, {requested.get(key)!r} now"
        for key in dict.fromkeys([*existing, *requested])
        if existing.get(key) != requested.get(key)
    ]
    if differences:
        raise ValueError(
            f"{folder}: was {state} with other input or options ({'; '.join(differences)}). "
            "Give the same ones, choose another --out, or remove the folder."
        )


def begin(folder: Path) -> None:
    """Makes the folder and its scratch folder.

    Raises:
        ValueError: the folder holds shards but neither a plan nor a manifest.
        OSError: the folder cannot be made.
    """
    if not (scratch_folder(folder) / PLAN).exists() and not (folder / manifests.FILE_NAME).exists():
        _refuse_foreign_shards(folder)
    try:
        scratch_folder(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"cannot make the folder {folder}: {error.strerror}; choose an --out that you may write to"
        ) from error


def abandon(folder: Path) -> None:
    """After an error: removes everything if no part is done, so that the user may fix the input and start again."""
    if not any((scratch_folder(folder) / PARTS).glob("*.npz")):
        discard(folder)


def discard(folder: Path) -> None:
    """Removes the scratch folder, and the folder itself if nothing else is in it."""
    finish(folder)
    if not any(folder.iterdir()):
        folder.rmdir()


def finish(folder: Path) -> None:
    """Removes the scratch folder and the temporary files of killed runs."""
    shutil.rmtree(scratch_folder(folder), ignore_errors=True)
    for stray in folder.glob(".*.tmp"):
        stray.unlink(missing_ok=True)


def _flat(recipe: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in recipe.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _refuse_foreign_shards(folder: Path) -> None:
    foreign = sorted(path.name for path in folder.iterdir() if path.suffix in SUFFIXES) if folder.is_dir() else []
    if foreign:
        raise ValueError(
            f"{folder}: holds {foreign[0]} ({len(foreign)} shards) and no manifest.json, so it was not made by this "
            "command; expected an empty or new folder. Choose another --out."
        )
