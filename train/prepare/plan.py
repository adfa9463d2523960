"""What a preparation is going to do, written down before it begins.

`DIR/.prepare/plan.json` holds the recipe (what the user asked for), the units of work and the time at which each input
file was last modified. Whoever comes later, a second run after a crash or another task of a job array, reads the plan
instead of making its own, and refuses to go on if it would have planned something else or a file was edited. When all
is done the recipe moves into manifest.json and `.prepare` disappears.
"""

import shutil
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from llm_jax.files.json_files import read_json, write_json
from train.data import manifest as manifests
from train.data.shards import SUFFIXES
from train.prepare.slices import Slice, Unit, stamps

PLAN = "plan.json"
PARTS = "parts"


@dataclass(frozen=True)
class UnitPlan:
    folder: Path  # where the shards go
    recipe: dict[str, Any]
    units: list[Unit]

    @property
    def scratch(self) -> Path:
        """Folder of everything unfinished."""
        return scratch_folder(self.folder)

    @property
    def tokenizer_folder(self) -> Path:
        return self.scratch / "tokenizer"

    def part(self, number: int) -> Path:
        """Where the tokens of unit `number` are kept until the shards are written."""
        return self.scratch / PARTS / f"{number:06}.npz"

    def save(self) -> None:
        (self.scratch / PARTS).mkdir(parents=True, exist_ok=True)
        units = [[astuple(piece) for piece in unit] for unit in self.units]
        write_json(self.scratch / PLAN, {"recipe": self.recipe, "units": units, "files": stamps(self.units)})


def scratch_folder(folder: Path) -> Path:
    return folder / manifests.UNFINISHED


def read_plan(folder: Path, recipe: dict[str, Any], mended: bool = False) -> UnitPlan | None:
    """The plan of an interrupted run, or None.

    Raises ValueError if it was for something else than `recipe`, or if an input file was edited since; where the input
    may have been `mended`, the second gives None, and then `keep_parts` saves what is still true.
    """
    path = scratch_folder(folder) / PLAN
    if not path.exists():
        return None
    fields = read_json(path)
    if mended and _same_but_files(fields["recipe"], recipe) != fields["recipe"]:
        refuse_other_recipe(folder, _same_but_files(fields["recipe"], recipe), recipe, "begun")
        return None
    refuse_other_recipe(folder, fields["recipe"], recipe, "begun")
    plan = UnitPlan(folder, recipe, [tuple(Slice(*piece) for piece in unit) for unit in fields["units"]])
    then, now = fields.get("files", {}), stamps(plan.units)
    if edited := [name for name, stamp in then.items() if now.get(name) != stamp]:
        if mended:
            return None
        raise ValueError(
            f"{edited[0]}: edited since the preparation of {folder} began ({len(edited)} of {len(then)} input files "
            f"have another size or time of modification). Remove {scratch_folder(folder)} to begin anew."
        )
    return plan


def keep_parts(plan: UnitPlan, tokenizer_kept: bool) -> int:
    """Takes over the parts of the plan on the disk whose files are unchanged, and removes the rest; returns how many.

    A tokenizer made from the text is another one when the text is another: then nothing is kept.
    """
    path = plan.scratch / PLAN
    if not path.exists():
        return 0
    fields, now = read_json(path), stamps(plan.units)
    then = fields.get("files", {})
    numbers = {unit: number for number, unit in enumerate(plan.units)}
    aside = plan.scratch / "kept"
    (plan.scratch / PARTS).mkdir(parents=True, exist_ok=True)
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    for number, pieces in enumerate(fields["units"]):
        unit = tuple(Slice(*piece) for piece in pieces)
        is_same = all(name in now and now[name] == then.get(name) for name in stamps([unit]))
        if tokenizer_kept and is_same and unit in numbers and plan.part(number).exists():
            plan.part(number).rename(aside / plan.part(numbers[unit]).name)
    shutil.rmtree(plan.scratch / PARTS)
    if not tokenizer_kept:
        shutil.rmtree(plan.tokenizer_folder, ignore_errors=True)
    for shard in (*plan.folder.glob("train_*.bin"), *plan.folder.glob("val_*.bin")):
        shard.unlink()  # of an assembly that was interrupted
    plan.save()  # before the parts have their new numbers: a run that is killed here loses them, and mistakes none
    kept = list(aside.iterdir())
    for part in kept:
        part.rename(plan.scratch / PARTS / part.name)
    return len(kept)


def _same_but_files(there: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """The recipe that is there, with the files that are now: their number, sizes and names."""
    files = {name: asked["input"][name] for name in ("files", "bytes", "names_and_sizes") if name in asked["input"]}
    return {**there, "input": {**there["input"], **files}}


def refuse_other_recipe(folder: Path, there: dict[str, Any], asked: dict[str, Any], state: str) -> None:
    """Raises ValueError that names every setting in which two recipes differ, with both values."""
    there, asked = _flat(there), _flat(asked)
    differences = [
        f"{key}: {there.get(key)!r} there, {asked.get(key)!r} now"
        for key in dict.fromkeys([*there, *asked])
        if there.get(key) != asked.get(key)
    ]
    if differences:
        raise ValueError(
            f"{folder}: was {state} with other input or options ({'; '.join(differences)}). "
            "Give the same ones, choose another --out, or remove the folder."
        )


def begin(folder: Path) -> None:
    """Makes the folder. Raises ValueError if shards of unknown origin lie in it."""
    if not (scratch_folder(folder) / PLAN).exists() and not (folder / manifests.FILE_NAME).exists():
        _refuse_foreign_shards(folder)
    try:
        scratch_folder(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"cannot make the folder {folder}: {error.strerror}; choose an --out that you may write to"
        ) from error


def abandon(folder: Path) -> None:
    """After an error: removes everything if no part is done, so that the user may mend the input and begin anew."""
    if not any((scratch_folder(folder) / PARTS).glob("*.npz")):
        discard(folder)


def discard(folder: Path) -> None:
    """Removes the scratch folder, and the folder itself if nothing else is in it."""
    finish(folder)
    if not any(folder.iterdir()):
        folder.rmdir()


def finish(folder: Path) -> None:
    """Removes what is only needed until manifest.json exists, and what killed runs were writing."""
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
