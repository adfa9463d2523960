"""The order of events of a preparation: source, plan, tokenizer, parts, shards.

Each stage first looks for the result of an earlier run, and writes its own to the disk whole or not at all. That is
enough to continue after a crash.

    DIR/.prepare/plan.json      units of work                  plan.py
    DIR/.prepare/tokenizer/     given, or made from the text   vocabulary.py
    DIR/.prepare/parts/*.npz    tokens of each unit            tokenise.py
    DIR/*.bin                   shards                         assemble.py
    DIR/manifest.json           written last                   manifest.py
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout
from rich.console import Console

from llm_jax.files.faults import safe
from llm_jax.tokenizer.protocol import Tokenizer
from train.data import manifest as manifests
from train.data.integrity import open_data
from train.data.manifest import Manifest
from train.data.tokenizer import tokenizer_beside
from train.prepare import plan as plans
from train.prepare.assemble import EmptyCorpus, assemble
from train.prepare.border import bordered, missing, to_record
from train.prepare.config import PrepareConfig
from train.prepare.parts import findings
from train.prepare.plan import UnitPlan
from train.prepare.progress import Progress
from train.prepare.slices import Source, group
from train.prepare.sources.choose import open_source
from train.prepare.tokenise import Work, available_cores, make_parts
from train.prepare.vocabulary import CHARACTERS, load_tokenizer, made_from_text, make_tokenizer

KEPT = "the parts that are tokenized are kept: the same command continues from there"
NOTHING_KEPT = "no part was tokenized yet, and nothing is left on the disk; the same command starts again"


class Request(NamedTuple):
    """What the command line asks for."""

    folder: Path
    source: Source
    tokenizer: Tokenizer | None  # None if it will be made from the text
    recipe: dict[str, Any]
    border: str | None  # as the user gave it


def prepare(options: PrepareConfig, console: Console | None = None) -> Manifest:
    """Prepares a folder, or continues an earlier run, and returns the manifest.

    A finished folder is left as it is. If one of its shards or its tokenizer is missing or damaged, all is made again.

    Raises:
        FileNotFoundError: there is no input.
        ValueError: the input cannot be read (file and place), the folder was made with other options, another process
            is preparing it, or, with `options.assemble`, parts are missing.
        OSError: the disk is full, or the folder cannot be written.
    """
    request, console = _open(options), console or Console(quiet=True)
    folder = request.folder
    if (manifest := _finished(request, console)) is not None:
        plans.finish(folder)
        return manifest
    if options.assemble:
        _refuse_missing_parts(request)
    request = _with_border(options, request)
    plans.begin(folder)
    try:
        with safe(KEPT), FileLock(plans.scratch_folder(folder) / "lock", timeout=0):
            manifest = _run(options, request, console)
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
    """Makes the parts of one task of several, on any machine, and no shards.

    Unit u belongs to task u mod tasks. A part depends on its unit alone and is written whole, so a killed task may be
    started again, and two tasks may make the same part without harm.

    Raises:
        TimeoutError: another task has been planning for hours.
        FileNotFoundError, ValueError, OSError: as `prepare`.
    """
    request, console = _open(options), console or Console(quiet=True)
    assert options.task is not None
    if _finished(request, console) is not None:
        return
    request = _with_border(options, request)
    plans.begin(request.folder)

    def make() -> None:
        plan, tokenizer = _plan(options, request, console)
        if not (plan.tokenizer_folder / "tokenizer.json").exists():
            tokenizer.save(plan.tokenizer_folder)

    plans.once(request.folder, make)
    plan, tokenizer = _plan(options, request, console)
    numbers = [number for number in range(len(plan.units)) if number % options.tasks == options.task % options.tasks]
    work = Work(plan, request.source, tokenizer, options.skip_bad_rows)
    with safe(KEPT), Progress(console, f"task {options.task}") as progress:
        make_parts(work, numbers, options.processes or available_cores(), progress)
    total = findings(plan, numbers)
    total.warn(request.source)
    for reason, count in total.left_out().items():
        console.print(f"task {options.task}: left out, {reason}: {count:,}", highlight=False)


def _open(options: PrepareConfig) -> Request:
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
    return Request(folder, source, tokenizer, _recipe(options, source, tokenizer), options.border)


def _with_border(options: PrepareConfig, request: Request) -> Request:
    """The request with the border set in its tokenizer. Raises ValueError if documents would get none unasked."""
    if request.tokenizer is not None:
        return request._replace(tokenizer=bordered(request.tokenizer, request.border, request.source.separated))
    if options.tokenizer == CHARACTERS and request.border is None and request.source.separated:
        raise missing(CHARACTERS)
    return request


def _finished(request: Request, console: Console) -> Manifest | None:
    """The manifest of a folder that is finished and undamaged, else None.

    Raises ValueError if it was made from other input or with other options.
    """
    folder = request.folder
    if not (folder / manifests.FILE_NAME).exists():
        return None
    plans.refuse_other_recipe(folder, manifests.read(folder).source, request.recipe, "finished")
    try:
        manifest = open_data(folder)
        if (beside := tokenizer_beside(manifest)) is None and request.tokenizer is None:
            raise FileNotFoundError(f"{folder}: its tokenizer is missing")
    except (FileNotFoundError, ValueError) as fault:
        console.print(f"{fault}\n{folder} is prepared again", markup=False, soft_wrap=True)
        return None
    if beside is None and request.tokenizer is not None:
        # The tokenizer alone is written again: the shards are whole.
        (bordered(request.tokenizer, request.border, True) if request.border else request.tokenizer).save(folder)
    unread = " (its input has the same names and sizes; contents were not compared)"
    unread_inputs = unread if "names_and_sizes" in request.recipe["input"] else ""
    console.print(f"{folder} is prepared already: nothing to do{unread_inputs}", markup=False, soft_wrap=True)
    return manifest


def _refuse_missing_parts(request: Request) -> None:
    plan = plans.read_plan(request.folder, request.recipe)
    if plan is None:
        raise ValueError(
            f"{request.folder}: no task has started, so there is nothing to assemble; run prepare --task first"
        )
    missing = [number for number in range(len(plan.units)) if not plan.part(number).exists()]
    if missing:
        raise ValueError(
            f"{request.folder}: {len(missing)} of {len(plan.units)} parts are missing (the first: {missing[0]}): a "
            "task failed or has not ended. Submit the same array again, which makes only those, or run prepare without "
            "--assemble to make them here"
        )


def _run(options: PrepareConfig, request: Request, console: Console) -> Manifest:
    """Plan, tokenizer, parts, shards. Each stage continues from the files of an interrupted run."""
    plan, tokenizer = _plan(options, request, console)
    processes = options.processes or available_cores()
    work = Work(plan, request.source, tokenizer, options.skip_bad_rows)
    with ThreadPoolExecutor(1) as thread, Progress(console, "tokenizing") as progress:
        saved = thread.submit(tokenizer.save, plan.tokenizer_folder)  # writing GPT-2's merges takes a second
        try:
            make_parts(work, range(len(plan.units)), processes, progress)
        except ValueError:  # a row or a file that cannot be read
            if any(plan.part(number).exists() for number in range(len(plan.units))):
                console.print(f"{plan.folder}: {KEPT}", markup=False, soft_wrap=True)
            raise
        saved.result()
    findings(plan, range(len(plan.units))).warn(request.source)
    with console.status("writing shards"):
        return assemble(
            plan,
            tokenizer,
            request.source.separated,
            options.shard_tokens,
            options.val_fraction,
            processes,
            options.skip_bad_rows,
        )


def _plan(options: PrepareConfig, request: Request, console: Console) -> tuple[UnitPlan, Tokenizer]:
    """The plan and the tokenizer: read from the disk, or made now."""
    # Tasks of a job array share a plan, so none of them may replace it.
    is_alone = options.task is None and not options.assemble
    plan = plans.read_plan(request.folder, request.recipe, may_be_edited=is_alone)
    if plan is None:
        plan = UnitPlan(request.folder, request.recipe, group(request.source.slices(), options.unit_bytes))
        kept = plans.keep_parts(plan, tokenizer_kept=request.tokenizer is not None)
        if kept:
            console.print(f"input was edited: {kept:,} of {len(plan.units):,} parts are of unchanged files, and kept")
        plan.save()
    return plan, request.tokenizer or _tokenizer_from_text(options, plan, request.source, console)


def _tokenizer_from_text(options: PrepareConfig, plan: UnitPlan, source: Source, console: Console) -> Tokenizer:
    if not (plan.tokenizer_folder / "tokenizer.json").exists():
        with console.status(f"making the tokenizer {options.tokenizer}"):
            made = make_tokenizer(options.tokenizer, source, plan.units, options.val_fraction, options.skip_bad_rows)
        bordered(made, options.border, source.separated).save(plan.tokenizer_folder)
    return load_tokenizer(str(plan.tokenizer_folder))


def _recipe(options: PrepareConfig, source: Source, tokenizer: Tokenizer | None) -> dict:
    """The options and inputs that decide the bytes of the shards, and no others."""
    return {
        "input": source.describe(),
        "tokenizer": options.tokenizer,
        "tokenizer_fingerprint": tokenizer and tokenizer.fingerprint,
        "shard_tokens": options.shard_tokens,
        "val_fraction": options.val_fraction,
        **to_record(tokenizer, options.border, source.separated),
    }
