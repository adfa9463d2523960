"""Curate FineWeb-like parquet files: filter, remove near-duplicates, tokenize, write token shards and a manifest.

For those who have more than `train prepare` can take on one machine: datatrove carries the work, on this machine
(--executor local) or as a chain of SLURM job arrays (--executor slurm). Needs the extra `curate`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro


@dataclass(frozen=True)
class Options:
    source: tyro.conf.Positional[Path]
    """Folder of parquet files with FineWeb's columns (text, url, language, language_score), or one file."""
    out: Path = Path("data/curated")
    """Folder for the shards; the work in between lies beside it, in .curate-OUT, to go on with after a failure, or when
    the shards were removed."""
    tokenizer: str = "gpt2"
    """gpt2, r50k_base, p50k_base, p50k_edit, a tokenizer.json or its folder, or owner/name on the Hugging Face hub."""
    border: str | None = None
    """What precedes each document: as of `train prepare`."""
    tasks: int = 1
    """Pieces that the input is shared out into, file by file. The result depends on it (the order of documents)."""
    workers: int = 0
    """Tasks at once. 0: one for each core (local), no limit (slurm)."""
    language: str = "en"
    """Keep documents that the column `language` says are of it; empty: all."""
    language_score: float = 0.65
    """Keep documents whose column `language_score` is at least this."""
    dedup: bool = True
    """Remove near-duplicates by MinHash."""
    shard_tokens: int = 100_000_000
    """Tokens in each shard but the last of a split."""
    val_fraction: float = 0.1
    """Share of the documents, from the first, for validation; at most one shard."""
    executor: Literal["local", "slurm"] = "local"
    """Where: on this machine, or as SLURM job arrays that wait for each other."""
    partition: str = ""
    """For slurm: the partition. Default: SBATCH_PARTITION of the site file, or the cluster's own."""
    time: str = ""
    """For slurm: time limit of each task. Default: SBATCH_TIMELIMIT of the site file, or 12:00:00."""
    gigabytes_per_task: int = 4
    """For slurm: memory of each task, in 10^9 bytes or so."""


def main(options: Options) -> int:
    """Runs or submits the stages; the exit status is 0."""
    from train.prepare.curation.stages import curate

    return curate(options)
