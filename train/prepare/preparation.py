"""The course of a preparation: source, plan, tokenizer, parts, shards.

Each stage writes its result to the disk whole or not at all, and begins by looking for the result of an earlier run.
Nothing else is needed to go on after a crash.

    DIR/.prepare/plan.json      what is to be done             plan.py
    DIR/.prepare/tokenizer/     given, or made from the text   vocabulary.py
    DIR/.prepare/parts/*.npz    tokens of each unit            tokenise.py
    DIR/*.bin                   shards                         assemble.py
    DIR/manifest.json           done                           manifest.py
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout
from rich.console import Console

from llm_jax.files.faults import safe
from llm_jax.tokenizer.protocol import Tokenizer
from train.data import manifest as manifests
from train.data.integrity import open_data, tokenizer_beside
from train.data.manifest import Manifest
from train.prepare import plan as plans
from train.prepare.assemble import EmptyCorpus, assemble, findings
from train.prepare.border import bordered, missing, to_record
from train.prepare.config import PrepareConfig
from train.prepare.plan import UnitPlan
from train.prepare.progress import Progress
from train.prepare.slices import Source, group
from train.prepare.sources.choose import open_source
from train.prepare.tokenise import Work, available_cores, make_parts
from train.prepare.vocabulary import CHARACTERS, load_tokenizer, made_from_text, make_tokenizer

PLANNING_SECONDS = 4 * 3600.0  # a tokenizer trained on 200 MB of text, which the other tasks wait for, takes that long

KEPT = "what is tokenized is kept: the same command goes on from there"
NOTHING_KEPT = "no part was tokenized yet, and nothing is left on the disk; the same command begins anew"


class Preparation(NamedTuple):
    """What a command line asks for."""

    folder: Path
    source: Source
    tokenizer: Tokenizer | None  # None if it is to be made from the text
    recipe: dict[str, Any]
    border: str | None  # as the user gave it


def prepare(options: PrepareConfig, console: Console | None = None) -> Manifest:
    """Prepares a folder, or goes on preparing it, and returns its manifest; does nothing if it is finished and sound.

    Where a shard or the tokenizer of a finished folder is missing or damaged, all of it is made again.
    Raises ValueError, FileNotFoundError or OSError with a message for the user: no input, unreadable input (file and
    place), a folder made with other options, a folder that another process is preparing, a full disk, and with
    `options.assemble`, work that is missing.
    """
    asked, console = _open(options), console or Console(quiet=True)
    folder = asked.folder
    if (manifest := _finished(asked, console)) is not None:
        plans.finish(folder)
        return manifest
    if options.assemble:
        _refuse_missing_parts(asked)
    asked = _with_border(options, asked)
    plans.begin(folder)
    try:
        with safe(KEPT), FileLock(plans.scratch_folder(folder) / "lock", timeout=0):
            manifest = _run(options, asked, console)
    except Timeout:
        raise ValueError(f"{folder}: another process is preparing it; wait for that, or choose another --out") from None
    except EmptyCorpus:
        plans.discard(folder)
        raise
    except KeyboardInterrupt:
        plans.abandon(folder)
        console.print(f"{folder}: {KEPT if folder.is_dir() else NOTHING_KEPT}", markup=False, soft_wrap=True)
        raise
    except BaseException:
        plans.abandon(folder)
        raise
    plans.finish(folder)
    return manifest


def prepare_share(options: PrepareConfig, console: Console | None = None) -> None:
    """Makes the parts of one task of several, on any machine; no shards. Raises as `prepare`, and TimeoutError.

    Unit u belongs to task u mod tasks. A part depends on its unit alone and appears whole, so a task that was killed
    may be started again, and if two make the same part, that is waste and no harm.
    """
    asked, console = _open(options), console or Console(quiet=True)
    assert options.task is not None
    if _finished(asked, console) is not None:
        return
    asked = _with_border(options, asked)
    plans.begin(asked.folder)
    try:
        # Whoever comes first plans and makes the tokenizer; the others wait and find both.
        with FileLock(plans.scratch_folder(asked.folder) / "planning", timeout=PLANNING_SECONDS):
            plan, tokenizer = _plan(options, asked, console)
            if not (plan.tokenizer_folder / "tokenizer.json").exists():
                tokenizer.save(plan.tokenizer_folder)
    except Timeout:
        raise TimeoutError(
            f"{asked.folder}: another task has been planning for {PLANNING_SECONDS / 3600:.0f} hours; see its log, and "
            "submit this task again when it is done"
        ) from None
    numbers = [number for number in range(len(plan.units)) if number % options.tasks == options.task % options.tasks]
    with safe(KEPT), Progress(console, f"task {options.task}") as progress:
        make_parts(
            Work(plan, asked.source, tokenizer, options.skip_bad_rows),
            numbers,
            options.processes or available_cores(),
            progress,
        )
    found = findings(plan, numbers)
    found.say(asked.source)
    for what, count in found.left_out().items():
        console.print(f"task {options.task}: left out, {what}: {count:,}", highlight=False)


def _open(options: PrepareConfig) -> Preparation:
    options.check()
    source = open_source(
        options.source,
        text_column=options.text_column,
        config=options.config,
        dataset_split=options.dataset_split,
        revision=options.revision,
        val_fraction=options.val_fraction,
        slice_bytes=options.unit_bytes,
        separator=options.document_separator,
    )
    tokenizer = None if made_from_text(options.tokenizer) else load_tokenizer(options.tokenizer)
    folder = options.out or Path("data") / options.name
    return Preparation(folder, source, tokenizer, _recipe(options, source, tokenizer), options.border)


def _with_border(options: PrepareConfig, asked: Preparation) -> Preparation:
    """With the tokenizer whose borders the documents get. Raises ValueError where they would get none unasked."""
    if asked.tokenizer is not None:
        return asked._replace(tokenizer=bordered(asked.tokenizer, asked.border, asked.source.separated))
    if options.tokenizer == CHARACTERS and asked.border is None and asked.source.separated:
        raise missing(CHARACTERS)
    return asked


def _finished(asked: Preparation, console: Console) -> Manifest | None:
    """The manifest that is there already, if it is sound. Raises ValueError if it is of other input or options."""
    folder = asked.folder
    if not (folder / manifests.FILE_NAME).exists():
        return None
    plans.refuse_other_recipe(folder, manifests.read(folder).source, asked.recipe, "finished")
    try:
        manifest = open_data(folder)
        if (beside := tokenizer_beside(manifest)) is None and asked.tokenizer is None:
            raise FileNotFoundError(f"{folder}: its tokenizer is missing")
    except (FileNotFoundError, ValueError) as fault:
        console.print(f"{fault}\n{folder} is prepared again", markup=False, soft_wrap=True)
        return None
    if beside is None and asked.tokenizer is not None:
        # No reason to read all of the text again.
        (bordered(asked.tokenizer, asked.border, True) if asked.border else asked.tokenizer).save(folder)
    unread = " (its input has the same names and sizes; contents were not compared)"
    seen = unread if "names_and_sizes" in asked.recipe["input"] else ""
    console.print(f"{folder} is prepared already: nothing to do{seen}", markup=False, soft_wrap=True)
    return manifest


def _refuse_missing_parts(asked: Preparation) -> None:
    plan = plans.read_plan(asked.folder, asked.recipe)
    if plan is None:
        raise ValueError(
            f"{asked.folder}: no task has begun, so there is nothing to assemble; run prepare --task first"
        )
    missing = [number for number in range(len(plan.units)) if not plan.part(number).exists()]
    if missing:
        raise ValueError(
            f"{asked.folder}: {len(missing)} of {len(plan.units)} parts are missing (the first: {missing[0]}): a task "
            "failed or has not ended. Submit the same array again, which makes only those, or run prepare without "
            "--assemble to make them here"
        )


def _run(options: PrepareConfig, asked: Preparation, console: Console) -> Manifest:
    """Plan, tokenizer, parts, shards: each goes on from what an interrupted run has left."""
    plan, tokenizer = _plan(options, asked, console)
    processes = options.processes or available_cores()
    with ThreadPoolExecutor(1) as aside, Progress(console, "tokenizing") as progress:
        saved = aside.submit(tokenizer.save, plan.tokenizer_folder)  # to spell out GPT-2's merges takes a second
        make_parts(
            Work(plan, asked.source, tokenizer, options.skip_bad_rows), range(len(plan.units)), processes, progress
        )
        saved.result()
    findings(plan, range(len(plan.units))).say(asked.source)
    with console.status("writing shards"):
        return assemble(
            plan,
            tokenizer,
            asked.source.separated,
            options.shard_tokens,
            options.val_fraction,
            processes,
            options.skip_bad_rows,
        )


def _plan(options: PrepareConfig, asked: Preparation, console: Console) -> tuple[UnitPlan, Tokenizer]:
    """The plan and the tokenizer, as they are on the disk or made now."""
    # Tasks of a job array share a plan: none of them may change it under the others.
    plan = plans.read_plan(asked.folder, asked.recipe, mended=options.task is None and not options.assemble)
    if plan is None:
        plan = UnitPlan(asked.folder, asked.recipe, group(asked.source.slices(), options.unit_bytes))
        kept = plans.keep_parts(plan, tokenizer_kept=asked.tokenizer is not None)
        if kept:
            console.print(f"input was mended: {kept:,} of {len(plan.units):,} parts are of unchanged files, and kept")
        plan.save()
    return plan, asked.tokenizer or _tokenizer_from_text(options, plan, asked.source, console)


def _tokenizer_from_text(options: PrepareConfig, plan: UnitPlan, source: Source, console: Console) -> Tokenizer:
    if not (plan.tokenizer_folder / "tokenizer.json").exists():
        with console.status(f"making the tokenizer {options.tokenizer}"):
            made = make_tokenizer(options.tokenizer, source, plan.units, options.val_fraction, options.skip_bad_rows)
            made = bordered(made, options.border, source.separated)
        made.save(plan.tokenizer_folder)
    return load_tokenizer(str(plan.tokenizer_folder))


def _recipe(options: PrepareConfig, source: Source, tokenizer: Tokenizer | None) -> dict:
    """What decides the bytes of the shards, and nothing else."""
    return {
        "input": source.describe(),
        "tokenizer": options.tokenizer,
        "tokenizer_fingerprint": tokenizer and tokenizer.fingerprint,
        "shard_tokens": options.shard_tokens,
        "val_fraction": options.val_fraction,
        **to_record(tokenizer, options.border, source.separated),
    }
