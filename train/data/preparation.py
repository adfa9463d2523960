"""The course of a preparation: source, plan, tokenizer, parts, shards.

Each stage leaves its result on the disk whole or not at all, and begins by looking for what an earlier run has left.
That is all there is to going on after a crash: no journal, no cleaning up.

    DIR/.prepare/plan.json      what is to be done             plan.py
    DIR/.prepare/tokenizer/     given, or made from the text   vocabulary.py
    DIR/.prepare/parts/*.npz    tokens of each unit            tokenise.py
    DIR/*.bin                   shards                         assemble.py
    DIR/manifest.json           done                           manifest.py
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console

from llm_jax.tokenizer.protocol import Tokenizer
from train.data import manifest as manifests
from train.data import plan as plans
from train.data.assemble import EmptyCorpus, assemble
from train.data.manifest import Manifest
from train.data.plan import Plan
from train.data.progress import Progress
from train.data.slices import Source, group
from train.data.sources import open_source
from train.data.tokenise import Work, make_parts
from train.data.vocabulary import load_tokenizer, made_from_text, make_tokenizer
from train.prepare import Options


def prepare(options: Options, console: Console | None = None) -> Manifest:
    """Prepares a folder, or goes on preparing it, and returns its manifest; does nothing if it is finished.

    Raises ValueError, FileNotFoundError or OSError with a message for the user: no input, unreadable input (file and
    place), a folder made with other options, a folder that another process is preparing, a full disk.
    """
    _check(options)
    console = console or Console(quiet=True)
    folder = options.out or Path("data") / _name(options)
    source = open_source(
        options.source,
        text_column=options.text_column,
        config=options.config,
        dataset_split=options.dataset_split,
        revision=options.revision,
        val_fraction=options.val_fraction,
        slice_bytes=_unit_bytes(options),
    )
    tokenizer = None if made_from_text(options.tokenizer) else load_tokenizer(options.tokenizer)
    recipe = _recipe(options, source, tokenizer)
    if (folder / manifests.FILE_NAME).exists():
        manifest = manifests.read(folder)
        plans.refuse_other_recipe(folder, manifest.source, recipe, "finished")
        plans.finish(folder)
        console.print(f"{folder} is prepared already: nothing to do", markup=False, soft_wrap=True)
        return manifest
    plans.begin(folder)
    try:
        with FileLock(plans.scratch_folder(folder) / "lock", timeout=0):
            manifest = _run(options, folder, source, recipe, tokenizer, console)
    except Timeout:
        raise ValueError(f"{folder}: another process is preparing it; wait for that, or choose another --out") from None
    except EmptyCorpus:
        plans.discard(folder)
        raise
    except BaseException:
        plans.abandon(folder)
        raise
    plans.finish(folder)
    return manifest


def _run(
    options: Options, folder: Path, source: Source, recipe: dict, tokenizer: Tokenizer | None, console: Console
) -> Manifest:
    """Plan, tokenizer, parts, shards: each goes on from what an interrupted run has left."""
    plan = plans.read_plan(folder, recipe)
    if plan is None:
        plan = Plan(folder, recipe, group(source.slices(), _unit_bytes(options)))
        plan.save()
    if tokenizer is None:
        tokenizer = _tokenizer_from_text(options, plan, source, console)
    processes = options.processes or _cores()
    with ThreadPoolExecutor(1) as aside, Progress(console, "tokenizing") as progress:
        saved = aside.submit(tokenizer.save, plan.tokenizer_folder)  # to spell out GPT-2's merges takes a second
        make_parts(Work(plan, source, tokenizer), range(len(plan.units)), processes, progress)
        saved.result()
    with console.status("writing shards"):
        return assemble(plan, tokenizer, options.shard_tokens, options.val_fraction, processes)


def _tokenizer_from_text(options: Options, plan: Plan, source: Source, console: Console) -> Tokenizer:
    if not (plan.tokenizer_folder / "tokenizer.json").exists():
        with console.status(f"making the tokenizer {options.tokenizer}"):
            made = make_tokenizer(options.tokenizer, source, plan.units, options.val_fraction)
        made.save(plan.tokenizer_folder)
    return load_tokenizer(str(plan.tokenizer_folder))


def _recipe(options: Options, source: Source, tokenizer: Tokenizer | None) -> dict:
    """What decides the bytes of the shards, and nothing else."""
    return {
        "input": source.describe(),
        "tokenizer": options.tokenizer,
        "tokenizer_fingerprint": tokenizer and tokenizer.fingerprint,
        "shard_tokens": options.shard_tokens,
        "val_fraction": options.val_fraction,
    }


def _check(options: Options) -> None:
    if options.shard_tokens < 1:
        raise ValueError(f"--shard-tokens must be at least 1; got {options.shard_tokens}")
    if not 0 <= options.val_fraction < 1:
        raise ValueError(f"--val-fraction must be at least 0 and below 1; got {options.val_fraction}")
    if options.processes < 0:
        raise ValueError(f"--processes must be at least 1, or 0 for one per core; got {options.processes}")
    if _unit_bytes(options) < 1:
        raise ValueError(f"--unit-megabytes must be above 0; got {options.unit_megabytes}")


def _unit_bytes(options: Options) -> int:
    return int(options.unit_megabytes * 1e6)


def _cores() -> int:
    """The cores that this process may use, which on a cluster are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _name(options: Options) -> str:
    """stdlib, fineweb-sample-10BT, tinyshakespeare: the end of the source's name, without suffix or wildcards."""
    first = options.source[0] if options.source else ""
    if first.startswith("hf:"):
        return "-".join([first.rstrip("/").rsplit("/", 1)[-1].removeprefix("hf:"), *filter(None, [options.config])])
    plain = [part for part in Path(first).with_suffix("").parts if not set(part) & set("*?[/.")]
    return plain[-1] if plain else "text"
