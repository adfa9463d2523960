"""What a preparation reads, and how it cuts, tokenizes and shares out the work."""

import math
from dataclasses import dataclass
from pathlib import Path

from train.data.shards import MOST_TOKENS


@dataclass(frozen=True)
class PrepareConfig:
    source: tuple[str, ...] = ("stdlib",)
    """Text to prepare: stdlib (the Python standard library's own sources), or files, globs or folders (parquet, Arrow,
    JSON, CSV, TSV or plain text, also compressed; told by their contents), or hf:NAME (a Hugging Face dataset,
    streamed). One text file alone is a running text with its end for validation."""

    out: Path | None = None
    """Folder for the shards. Default: data/ and the name of the source."""

    tokenizer: str = "gpt2"
    """gpt2, r50k_base, p50k_base, p50k_edit, cl100k_base, o200k_base, a tokenizer.json or its folder, owner/name on the
    Hugging Face hub, train:N (byte-pair encoding of N ids trained on this text), or characters."""

    border: str | None = None
    """What precedes each document: a token, its id, or none. Default: the tokens that end and begin a text by the
    tokenizer's own files; where those name none, documents are refused."""

    text_column: str = "text"
    """Column or field that holds the text, for JSON, CSV, TSV, parquet, Arrow and hf:NAME. For a CSV or TSV table
    without a header: the number of the column, from 1 on."""

    document_separator: str | None = None
    """Text that divides the documents of plain text, such as '<|endoftext|>'; it is not tokenized itself."""

    config: str | None = None
    """Configuration of an hf: dataset. Default: sample-10BT for FineWeb and FineWeb-Edu, else the dataset's own."""

    dataset_split: str = "train"
    """Split of an hf: dataset to read."""

    revision: str | None = None
    """Commit of an hf: dataset. Default: the newest."""

    shard_tokens: int = 100_000_000
    """Tokens in each shard but the last of a split. A token has two bytes, or four where the vocabulary is over
    65,536."""

    val_fraction: float = 0.1
    """Share of the documents, from the first, for validation; at most one shard. Of a running text: share of its
    characters, from the end."""

    skip_bad_rows: int = 0
    """How many rows, or files that are one document each, may be left out because they cannot be read (broken JSON, no
    text, not UTF-8). skipped_rows.txt lists each of them. One more is an error."""

    processes: int = 0
    """Processes that tokenize. 0: one for each core that this process may use."""

    unit_megabytes: float = 4.0
    """Text in one unit of work, in MB of 10^6 bytes: what an interrupted run may have to repeat for each process."""

    task: int | None = None
    """Do one share of the work and write no shards: for the tasks of a job array, of which this is number TASK (from
    any number on). When all have ended, --assemble."""

    tasks: int = 1
    """With --task: how many tasks share the work. A task alone does whatever is missing."""

    assemble: bool = False
    """Write shards and manifest from the work of all tasks; refused if some of it is missing."""

    @property
    def unit_bytes(self) -> int:
        """Bytes of text in one unit of work."""
        return int(self.unit_megabytes * 1e6)

    @property
    def name(self) -> str:
        """stdlib, fineweb-sample-10BT, tinyshakespeare: the end of the source's name, without suffix or wildcards."""
        first = self.source[0] if self.source else ""
        if first.startswith("hf:"):
            return "-".join([first.rstrip("/").rsplit("/", 1)[-1].removeprefix("hf:"), *filter(None, [self.config])])
        plain = [part for part in Path(first).with_suffix("").parts if not set(part) & set("*?[/.")]
        return plain[-1] if plain else "text"

    def check(self) -> None:
        """Raises ValueError for a number out of range."""
        if not 1 <= self.shard_tokens <= MOST_TOKENS:
            raise ValueError(
                f"--shard-tokens must be at least 1 and at most {MOST_TOKENS}, which a shard's header can count; got "
                f"{self.shard_tokens}"
            )
        if not 0 <= self.val_fraction < 1:
            raise ValueError(f"--val-fraction must be at least 0 and below 1; got {self.val_fraction}")
        if self.task is not None and (self.task < 0 or self.tasks < 1 or self.assemble):
            raise ValueError(
                f"--task must not be negative, --tasks at least 1, and --assemble comes after them; got {self.task} "
                f"and {self.tasks}{' with --assemble' * self.assemble}"
            )
        if self.skip_bad_rows < 0:
            raise ValueError(f"--skip-bad-rows must not be negative; got {self.skip_bad_rows}")
        if self.processes < 0:
            raise ValueError(f"--processes must be at least 1, or 0 for one per core; got {self.processes}")
        if not math.isfinite(self.unit_megabytes) or self.unit_bytes < 1:
            raise ValueError(f"--unit-megabytes must be above 0 and finite; got {self.unit_megabytes}")
