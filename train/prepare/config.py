"""Options of `train prepare`: what it reads, how it tokenizes, and how it divides the work."""

import math
from dataclasses import dataclass
from pathlib import Path

from train.data.shards import MOST_TOKENS


@dataclass(frozen=True)
class PrepareConfig:
    source: tuple[str, ...] = ("stdlib",)
    """Text to prepare: stdlib (the Python standard library's sources), or files, globs or folders (parquet, Arrow,
    JSON, CSV, TSV or plain text, also compressed; recognised by their contents), or hf:NAME (a Hugging Face dataset,
    streamed). A single text file is one running text; its end is for validation."""

    out: Path | None = None
    """Folder for the shards. Default: data/ and the name of the source."""

    tokenizer: str = "gpt2"
    """gpt2, r50k_base, p50k_base, p50k_edit, cl100k_base, o200k_base, a tokenizer.json or its folder, owner/name on the
    Hugging Face hub, train:N (byte-pair encoding of N ids trained on this text), or characters."""

    border: str | None = None
    """What precedes each document: a token, its id, or none. Default: the tokens that end and begin a text according
    to the tokenizer's files. If those name none, documents are refused."""

    text_column: str = "text"
    """Column or field that holds the text, for JSON, CSV, TSV, parquet, Arrow and hf:NAME. For a CSV or TSV table
    without a header: the number of the column, counted from 1."""

    document_separator: str | None = None
    """Text that separates documents in plain text, such as '<|endoftext|>'. It is not tokenized."""

    config: str | None = None
    """Configuration of an hf: dataset. Default: sample-10BT for FineWeb and FineWeb-Edu, else the dataset's default."""

    dataset_split: str = "train"
    """Split of an hf: dataset to read."""

    revision: str | None = None
    """Commit of an hf: dataset. Default: the newest."""

    shard_tokens: int = 100_000_000
    """Tokens in each shard; the last shard of a split may have fewer. A token takes two bytes, or four if the
    vocabulary has more than 65,536 ids."""

    val_fraction: float = 0.1
    """Share of the documents for validation, taken from the beginning; at most one shard. For a running text: share of
    its characters, taken from the end."""

    skip_bad_rows: int = 0
    """How many rows (or files that are one document each) may be skipped because they cannot be read: broken JSON, no
    text, not UTF-8. skipped_rows.txt lists them. One more is an error."""

    processes: int = 0
    """Processes that tokenize. 0: one for each available core."""

    unit_megabytes: float = 4.0
    """Text in one unit of work, in MB of 10^6 bytes. After an interrupt, each process repeats at most one unit."""

    task: int | None = None
    """Tokenize the share of task number TASK of a job array, and write no shards. The array may count from any number.
    When all tasks have ended, run the same command with --assemble."""

    tasks: int = 1
    """With --task: how many tasks share the work. With the default, one task does all that is missing."""

    assemble: bool = False
    """Write shards and manifest from the work of all tasks. Refused if some of it is missing."""

    @property
    def unit_bytes(self) -> int:
        """Bytes of text in one unit of work."""
        return int(self.unit_megabytes * 1e6)

    @property
    def name(self) -> str:
        """The end of the source's name without suffix or wildcards: stdlib, fineweb-sample-10BT, tinyshakespeare."""
        first = self.source[0] if self.source else ""
        if first.startswith("hf:"):
            name, _, chosen = first.removeprefix("hf:").partition(":")
            return "-".join([name.rstrip("/").rsplit("/", 1)[-1], *filter(None, [self.config or chosen])])
        plain = [part for part in Path(first).with_suffix("").parts if not set(part) & set("*?[/.")]
        return plain[-1] if plain else "text"

    def check(self) -> None:
        """Checks all numbers.

        Raises:
            ValueError: a number is out of range.
        """
        if not 1 <= self.shard_tokens <= MOST_TOKENS:
            raise ValueError(
                f"--shard-tokens must be at least 1 and at most {MOST_TOKENS}, the largest count that a shard's header "
                f"can hold; got {self.shard_tokens}"
            )
        if not 0 <= self.val_fraction < 1:
            raise ValueError(f"--val-fraction must be at least 0 and below 1; got {self.val_fraction}")
        if self.task is not None and (self.task < 0 or self.tasks < 1 or self.assemble):
            raise ValueError(
                "--task must not be negative, --tasks must be at least 1, and --assemble is a command of its own after "
                f"all tasks; got {self.task} and {self.tasks}{' with --assemble' * self.assemble}"
            )
        if self.skip_bad_rows < 0:
            raise ValueError(f"--skip-bad-rows must not be negative; got {self.skip_bad_rows}")
        if self.processes < 0:
            raise ValueError(f"--processes must be at least 1, or 0 for one per core; got {self.processes}")
        if not math.isfinite(self.unit_megabytes) or self.unit_bytes < 1:
            raise ValueError(f"--unit-megabytes must be above 0 and finite; got {self.unit_megabytes}")
