"""The chain of curation: each stage is a number of tasks, on this machine or as a SLURM job array.

    filter       read parquet, keep what the recipe keeps, write JSON lines                  tasks
    signatures   14 × 8 hashes of every document                                             tasks
    buckets      documents that meet in a bucket                                             one for each bucket
    clusters     pairs → groups, of which one document stays                                 1
    dedup        what stays                                                                  tasks
    tokenize     a share of the parts, exactly as `train prepare --task` makes them          tasks
    assemble     shards and manifest, as `train prepare --assemble` writes them              1

datatrove notes which tasks are done, so the same command goes on after a failure. Only the last two stages write
outside the folder of work: where their result was removed, they run again whatever datatrove has noted.
"""

import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llm_jax.files.json_files import read_json, write_json
from train.data import manifest as manifests
from train.prepare import preparation
from train.prepare.border import bordered
from train.prepare.config import PrepareConfig
from train.prepare.curation import languages, on_slurm, report
from train.prepare.curation.config import CurationConfig
from train.prepare.curation.stage import FILTER, Stage, aside, logs_of, work_of
from train.prepare.plan import refuse_other_recipe
from train.prepare.slices import listing
from train.prepare.vocabulary import load_tokenizer, made_from_text

BUCKETS = 14
TOKENIZE, ASSEMBLE = "tokenize", "assemble"
# The options that decide the result; the others say where and how fast.
DECIDE = (
    "source",
    "tokenizer",
    "tasks",
    "language",
    "filters",
    "language_score",
    "dedup",
    "shard_tokens",
    "val_fraction",
)


class MakeParts:
    """A datatrove step that tokenizes a share of what the stages before have written."""

    def __init__(self, prepare: PrepareConfig) -> None:
        self.prepare = prepare

    def __call__(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        preparation.prepare_share(dataclasses.replace(self.prepare, task=rank, tasks=world_size))
        return iter(())


class Assemble(MakeParts):
    """A datatrove step that writes shards and manifest when all parts are there."""

    def __call__(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        preparation.prepare(dataclasses.replace(self.prepare, assemble=True))
        return iter(())


def curate(options: CurationConfig) -> int:
    """Runs the stages one after the other, or submits them all. Raises ValueError, FileNotFoundError, ImportError."""
    if options.executor == "slurm":
        on_slurm.check(options)
    if not options.language and not options.filters:
        print("documents of every language are judged by the filters for English; --filters names another language")
    options = languages.resolve(options)
    files = _check(options)
    chain = stages(options)
    _begin(options, files)
    return on_slurm.submit(options, chain) if options.executor == "slurm" else _run(options, chain)


def stages(options: CurationConfig) -> list[Stage]:
    """The chain, in order, for options as `languages.resolve` returns them. All paths are absolute: tasks may start
    anywhere."""
    from datatrove.pipeline.dedup.minhash import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.readers import JsonlReader, ParquetReader
    from datatrove.pipeline.writers import JsonlWriter

    from train.prepare.curation import recipe

    work = work_of(options)
    judge = languages.find(options.filters)
    source = options.source.absolute()
    folder, pattern = (source, "**/*.parquet") if source.is_dir() else (source.parent, source.name)
    filtered, kept = str(work / "filtered"), str(work / "kept")
    signatures, buckets, removed = (str(work / name) for name in ("signatures", "buckets", "removed"))

    def write(where: str) -> Any:
        return JsonlWriter(where, output_filename="${rank}.jsonl", compression=None)

    read = JsonlReader(filtered, glob_pattern="*.jsonl")
    chain = [
        Stage(
            FILTER,
            [
                ParquetReader(str(folder), glob_pattern=pattern),
                *recipe.filters(judge, options.language, options.language_score),
                write(filtered if options.dedup else kept),
            ],
            options.tasks,
        )
    ]
    if options.dedup:
        config = recipe.MINHASH
        chain += [
            Stage(
                "signatures",
                [read, MinhashDedupSignature(signatures, config=config, language=options.filters)],  # for its words
                options.tasks,
            ),
            Stage("buckets", [MinhashDedupBuckets(signatures, buckets, config=config)], BUCKETS),
            Stage("clusters", [MinhashDedupCluster(buckets, removed, config=config)], 1),
            Stage("dedup", [read, MinhashDedupFilter(removed), write(kept)], options.tasks),
        ]
    prepare = PrepareConfig(
        source=(f"{kept}/*.jsonl",),
        out=options.out.absolute(),
        tokenizer=options.tokenizer,
        border=options.border,
        shard_tokens=options.shard_tokens,
        val_fraction=options.val_fraction,
        processes=1,
    )
    return [*chain, Stage(TOKENIZE, [MakeParts(prepare)], options.tasks), Stage(ASSEMBLE, [Assemble(prepare)], 1)]


def _run(options: CurationConfig, chain: list[Stage]) -> int:
    from datatrove.executor import LocalPipelineExecutor

    workers = options.workers or len(os.sched_getaffinity(0))
    for number, stage in enumerate(chain, 1):
        logs = logs_of(options, stage.name)
        executor = LocalPipelineExecutor(list(stage.steps), stage.tasks, min(workers, stage.tasks), str(logs))
        with aside(logs):
            executor.run()
        print(f"{number}/{len(chain)}  {stage.name:<11} {report.summary(logs)}", flush=True)
        if stage.name == FILTER:
            print(report.removals(logs), end="", flush=True)
        n_in, n_kept = report.documents(logs)
        if n_kept == 0:
            raise ValueError(
                f"{options.source}: no document of {n_in:,} was kept; see --language {options.language!r}, "
                f"--language-score {options.language_score}, and how many each filter dropped: {logs / 'stats.json'}"
            )
    print(f"next: python -m train pretrain gpt2-124m --data {options.out}")
    return 0


def _check(options: CurationConfig) -> list[Path]:
    """The parquet files of the source."""
    try:
        import datatrove  # noqa: F401
        import spacy  # noqa: F401
    except ImportError:
        raise ImportError("curation needs datatrove: uv sync --inexact --extra curate") from None
    if options.tasks < 1 or options.workers < 0:
        raise ValueError(f"--tasks must be at least 1, --workers not negative; got {options.tasks}, {options.workers}")
    if made_from_text(options.tokenizer):
        raise ValueError(f"--tokenizer {options.tokenizer}: curation needs one that exists; make it with train prepare")
    # Now, and not after hours of filtering.
    bordered(load_tokenizer(options.tokenizer), options.border, separated=True)
    PrepareConfig(shard_tokens=options.shard_tokens, val_fraction=options.val_fraction).check()
    if not options.source.exists():
        raise FileNotFoundError(f"{options.source}: no such file or folder; expected parquet files as FineWeb's")
    files = sorted(options.source.rglob("*.parquet")) if options.source.is_dir() else [options.source]
    if not files:
        raise FileNotFoundError(f"{options.source}: no *.parquet in it")
    _check_columns(files[0], options)
    languages.check_words(languages.find(options.filters))
    return files


def _check_columns(file: Path, options: CurationConfig) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = pq.read_schema(file).names
    except pa.ArrowException as error:
        raise ValueError(f"{file}: not a readable parquet file ({error})") from None
    needed = ["text", *(["language", "language_score"] if options.language else [])]
    missing = [name for name in needed if name not in columns]
    if missing:
        cure = "" if missing == ["text"] else f"; --language '' keeps every document, with --filters {options.filters}"
        raise ValueError(f"{file}: no column {missing[0]!r}; there are {', '.join(columns)}{cure}")


def _begin(options: CurationConfig, files: list[Path]) -> None:
    """Notes what is asked for, and refuses to go on with the work of something else."""
    asked: dict[str, Any] = {name: str(value) for name, value in vars(options).items() if name in DECIDE}
    if options.border is not None:  # work that was begun before there was a choice says nothing of it
        asked["border"] = options.border
    asked["input"] = listing(files)
    work = work_of(options)
    path, finished = work / "options.json", (options.out / manifests.FILE_NAME).exists()
    if path.exists():
        refuse_other_recipe(work, read_json(path), asked, "begun")
    elif finished:
        raise ValueError(
            f"{options.out} is finished, and {work}, which said from what, is gone; choose another --out, or remove "
            f"{options.out}"
        )
    if not finished:
        for stage in (TOKENIZE, ASSEMBLE):
            shutil.rmtree(logs_of(options, stage) / "completions", ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, asked)
