"""Options of `train curate`: which documents it keeps, and where its stages run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro


@dataclass(frozen=True)
class CurationConfig:
    source: tyro.conf.Positional[Path]
    """Folder of parquet files with FineWeb's columns (text, language, language_score, and url if any), or one file."""
    out: Path = Path("data/curated")
    """Folder for the shards. Intermediate files are kept beside it in .curate-OUT. After a failure, or if the shards
    were removed, the same command continues from them."""
    tokenizer: str = "gpt2"
    """gpt2, r50k_base, p50k_base, p50k_edit, cl100k_base, o200k_base, a tokenizer.json or its folder, or owner/name on
    the Hugging Face hub."""
    border: str | None = None
    """What precedes each document, as in `train prepare`."""
    tasks: int = 1
    """Number of tasks that the input files are divided among. The order of documents depends on it."""
    workers: int = 0
    """Tasks that run at the same time. 0: one for each core (local), no limit (slurm)."""
    language: str = "en"
    """Keep documents whose column `language` holds this: FineWeb-2's name (tha_Thai) or a code (th). Empty: keep all.
    It also selects the filters: FineWeb's for English, FineWeb-2's for others."""
    filters: str = ""
    """Language whose filters and stop words to use, if not --language's. Default: --language, or English."""
    language_score: float | None = None
    """Keep documents whose column `language_score` is at least this. Default: set per language (English: 0.65)."""
    dedup: bool = True
    """Remove near-duplicates by MinHash."""
    shard_tokens: int = 100_000_000
    """Tokens in each shard; the last shard of a split may have fewer."""
    val_fraction: float = 0.1
    """Share of the documents for validation, taken from the beginning; at most one shard."""
    executor: Literal["local", "slurm"] = "local"
    """Run on this machine, or as SLURM job arrays that wait for each other."""
    partition: str = ""
    """For slurm: the partition. Default: SBATCH_PARTITION of the site file, or the cluster's default."""
    time: str = ""
    """For slurm: time limit of each task. Default: SBATCH_TIMELIMIT of the site file, or 12:00:00."""
    gigabytes_per_task: int = 4
    """For slurm: memory of each task, in GB."""
