"""Turn text into token shards and a manifest, ready to train on.

Killed at any moment, the same command goes on where it was and ends with the same bytes. On a finished folder it checks
the shards and the tokenizer, and makes them again where something is missing or damaged.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from train.data.manifest import Manifest


@dataclass(frozen=True)
class Options:
    source: tuple[str, ...] = ("stdlib",)
    """Text to prepare: stdlib (the Python standard library's own sources), or files, globs or folders (parquet, Arrow,
    JSON, CSV, TSV or plain text, also compressed; told by their contents), or hf:NAME (a Hugging Face dataset,
    streamed). One text file alone is a running text with its end for validation."""

    out: Path | None = None
    """Folder for the shards. Default: data/ and the name of the source."""

    tokenizer: str = "gpt2"
    """gpt2, r50k_base, p50k_base, p50k_edit, a tokenizer.json or its folder, owner/name on the Hugging Face hub,
    train:N (byte-pair encoding of N ids trained on this text), or characters."""

    border: str | None = None
    """What precedes each document: a token, its id, or none. Default: the tokens that end and begin a text by the
    tokenizer's own files; where those name none, documents are refused."""

    text_column: str = "text"
    """Column or field that holds the text, for JSON, CSV, parquet, Arrow and hf:NAME."""

    document_separator: str | None = None
    """Text that divides the documents of plain text, such as '<|endoftext|>'; it is not tokenized itself."""

    config: str | None = None
    """Configuration of an hf: dataset. Default: sample-10BT for FineWeb and FineWeb-Edu, else the dataset's own."""

    dataset_split: str = "train"
    """Split of an hf: dataset to read."""

    revision: str | None = None
    """Commit of an hf: dataset. Default: the newest."""

    shard_tokens: int = 100_000_000
    """Tokens in each shard but the last of a split (two bytes each)."""

    val_fraction: float = 0.1
    """Share of the documents, from the first, for validation; at most one shard. Of a running text: share of its
    characters, from the end."""

    skip_bad_rows: int = 0
    """Rows that may be left out because they cannot be read (broken JSON, no text, not UTF-8): so many in all, each
    listed in skipped_rows.txt. One more is an error."""

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


def main(options: Options) -> int:
    from rich.console import Console

    from train.prepare.preparation import prepare, prepare_share

    console = Console()
    if options.task is not None:
        prepare_share(options, console)
        return 0
    manifest = prepare(options, console)
    console.print(_table(manifest))
    for what, count in manifest.left_out.items():
        console.print(f"left out, {what}: {count:,}", highlight=False)
    console.print(f"next: python -m train pretrain gpt2-nano --data {manifest.folder}", markup=False, soft_wrap=True)
    return 0


def _table(manifest: "Manifest") -> "Table":
    from rich.table import Table

    table = Table(title=str(manifest.folder), title_justify="left")
    for column in ("split", "shards", "documents", "MB of text", "tokens", "bytes a token"):
        table.add_column(column, justify="left" if column == "split" else "right")
    for name, split in manifest.splits.items():
        n_bytes = split.bytes or 0
        shards = sum(shard.split == name for shard in manifest.shards)
        table.add_row(
            name,
            f"{shards:,}",
            f"{split.documents or 0:,}",
            f"{n_bytes / 1e6:,.1f}",
            f"{split.tokens:,}",
            f"{n_bytes / split.tokens:.3f}",
        )
    return table
