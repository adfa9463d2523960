"""The chain of curation. Each stage has a number of tasks, and runs on this machine or as a SLURM job array.

    stage        result                                                                      tasks
    filter       documents that pass the recipe's filters, from parquet to JSON lines        --tasks
    signatures   14 × 8 hashes of every document                                             --tasks
    buckets      pairs of documents with the same hashes in a bucket                         one for each bucket
    clusters     groups of pairs; all but one document of each are to be removed             1
    dedup        the remaining documents                                                     --tasks
    tokenize     parts, exactly as `train prepare --task` makes them                         --tasks
    assemble     shards and manifest, as `train prepare --assemble` writes them              1

datatrove records which tasks are done, so the same command continues after a failure. Only the last two stages write
outside the work folder. If their result was removed, they run again, whatever datatrove has recorded.
"""

import dataclasses
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
from train.prepare.curation.stage import FILTER, Stage, logs_of, redirect_stderr, work_of
from train.prepare.plan import refuse_other_recipe
from train.prepare.slices import listing
from train.prepare.tokenise import available_cores
from train.prepare.vocabulary import load_tokenizer, made_from_text

BUCKETS = 14
TOKENIZE, ASSEMBLE = "tokenize", "assemble"
# Options that decide the result; the others decide where and how fast the stages run.
RESULT_OPTIONS = (
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
    """A datatrove step that tokenizes one task's share of the documents that the earlier stages have written."""

    def __init__(self, prepare: PrepareConfig) -> None:
        self.prepare = prepare

    def __call__(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        preparation.prepare_share(dataclasses.replace(self.prepare, task=rank, tasks=world_size))
        return iter(())


class Assemble(MakeParts):
    """A datatrove step that writes shards and manifest when all parts exist."""

    def __call__(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        preparation.prepare(dataclasses.replace(self.prepare, assemble=True))
        return iter(())


def curate(options: CurationConfig) -> int:
    """Runs the stages one after the other, or submits them all to SLURM; returns 0.

    Raises:
        ImportError: datatrove or a language's word tokenizer is missing.
        FileNotFoundError: there is no input, or SLURM is missing.
        ValueError: an option is out of range, the input lacks a column, or no document is kept.
    """
    if options.executor == "slurm":
        on_slurm.check(options)
    if not options.language and not options.filters:
        print("documents of every language go through the filters for English; --filters selects another language")
    options = languages.resolve(options)
    files = _check(options)
    chain = stages(options)
    _begin(options, files)
    return on_slurm.submit(options, chain) if options.executor == "slurm" else _run(options, chain)


def stages(options: CurationConfig) -> list[Stage]:
    """The chain, in order, for options that `languages.resolve` has returned.

    All paths are absolute, because tasks may start in any folder.
    """
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
    rules = languages.find(options.filters)
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
                *recipe.filters(rules, options.language, options.language_score),
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
                # The language selects the word tokenizer.
                [read, MinhashDedupSignature(signatures, config=config, language=options.filters)],
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

    workers = options.workers or available_cores()
    for number, stage in enumerate(chain, 1):
        logs = logs_of(options, stage.name)
        executor = LocalPipelineExecutor(list(stage.steps), stage.tasks, min(workers, stage.tasks), str(logs))
        with redirect_stderr(logs):
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
    # Before hours of filtering.
    bordered(load_tokenizer(options.tokenizer), options.border, separated=True)
    PrepareConfig(shard_tokens=options.shard_tokens, val_fraction=options.val_fraction).check()
    if not options.source.exists():
        raise FileNotFoundError(f"{options.source}: no such file or folder; expected parquet files like FineWeb's")
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
    """Records the options that decide the result. Raises ValueError if the work folder is of other ones."""
    requested: dict[str, Any] = {name: str(value) for name, value in vars(options).items() if name in RESULT_OPTIONS}
    if options.border is not None:  # older versions had no such option and did not record it
        requested["border"] = options.border
    requested["input"] = listing(files)
    work = work_of(options)
    path, finished = work / "options.json", (options.out / manifests.FILE_NAME).exists()
    if path.exists():
        refuse_other_recipe(work, read_json(path), requested, "begun")
    elif finished:
        raise ValueError(
            f"{options.out} is finished, but {work}, which recorded its input and options, is gone; choose another "
            f"--out, or remove {options.out}"
        )
    if not finished:
        for stage in (TOKENIZE, ASSEMBLE):
            shutil.rmtree(logs_of(options, stage) / "completions", ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, requested)
