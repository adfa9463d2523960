"""A Hugging Face dataset, streamed: it is read over the network while it is tokenized, without a local copy.

The dataset's current commit is recorded, so that a preparation continued next week reads the same rows. A streamed
dataset consists of files, and parquet files are split further into row groups. These pieces are the slices that
processes share.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from train.prepare.slices import BadRow, Slice, listing, refusing
from train.prepare.sources.arrow import naming_damage, text_of, values_of

if TYPE_CHECKING:
    from datasets import IterableDataset

# Splitting into row groups reads the footer of every file: fast for sample-10BT's 15, too slow for FineWeb's 27,000.
MOST_FILES_TO_SPLIT = 1000


@dataclass(frozen=True)
class HubDataset:
    """One split of a dataset; each row is a document."""

    name: str  # "HuggingFaceFW/fineweb", or a local folder of data files
    config: str | None
    split: str
    column: str
    revision: str | None  # commit; None for a local folder
    separated = True

    def describe(self) -> dict[str, Any]:
        names = {"dataset": self.name, "config": self.config, "split": self.split, "revision": self.revision}
        description = {"kind": "hugging face dataset", **names, "text_column": self.column}
        if not (folder := Path(self.name)).is_dir():
            return description
        return description | listing(sorted(path for path in folder.rglob("*") if path.is_file()))

    @cached_property
    def _stream(self) -> "IterableDataset":
        """The text column, split into as many pieces as possible."""
        stream = _load(self.name, self.config, self.split, self.revision)
        columns = stream.column_names or list(next(iter(stream.take(1)), {}))
        if self.column not in columns:
            raise ValueError(
                f"hf:{self.name}: no column {self.column!r}; there are {', '.join(columns) or 'none'}. "
                "Choose one with --text-column."
            )
        stream = stream.select_columns([self.column])
        return stream.reshard() if stream.num_shards <= MOST_FILES_TO_SPLIT else stream

    def slices(self) -> Iterator[Slice]:
        for i in range(self._stream.num_shards):
            yield Slice(self.name, i, i + 1, 0)

    def read(self, piece: Slice) -> Iterator[str]:
        return refusing(self.rows(piece))

    def rows(self, piece: Slice) -> Iterator[str | BadRow]:
        part = self._stream.shard(num_shards=self._stream.num_shards, index=piece.start)
        arrow: Any = part.with_format("arrow")
        first, tables = 0, iter(arrow.iter(batch_size=1024))
        while True:
            with naming_damage(self._piece(piece), "data"):
                values = [] if (table := next(tables, None)) is None else values_of(table.column(self.column))
            if table is None:
                return
            for row, value in enumerate(values, first):
                yield self._text(value, piece, row)
            first += len(values)

    def _text(self, value: Any, piece: Slice, row: int) -> str | BadRow:
        try:
            text = text_of(value, self.column)
        except ValueError as error:
            return BadRow(f"{self.place(piece, row)}: {error}")
        if isinstance(text, str):
            return text
        return BadRow(f"{self.place(piece, row)}: {self.column!r} is {text!r}; expected a string")

    def place(self, piece: Slice, index: int) -> str:
        return f"{self._piece(piece)}, row {index:,}"

    def _piece(self, piece: Slice) -> str:
        return f"hf:{self.name}, piece {piece.start} of {self._stream.num_shards}"


def hub_dataset(name: str, config: str | None, split: str, column: str, revision: str | None) -> HubDataset:
    """The dataset at its current commit, or at `revision`.

    Raises:
        OSError: the hub cannot be reached; names the dataset.
    """
    pinned = revision if revision or Path(name).is_dir() else _commit(name)
    return HubDataset(name, config, split, column, pinned)


def _commit(name: str) -> str | None:
    from huggingface_hub import HfApi

    try:
        return HfApi().dataset_info(name).sha
    except Exception as error:  # network, authentication and HTTP errors have no common ancestor across versions
        raise OSError(
            f"hf:{name}: cannot be reached ({type(error).__name__}: {str(error).splitlines()[0]}). Check the name and "
            "the network, or download its files where there is one and give them with --source"
        ) from error


def _load(name: str, config: str | None, split: str, revision: str | None) -> "IterableDataset":
    from datasets import load_dataset

    try:
        return load_dataset(name, config, split=split, revision=revision, streaming=True)
    except (ValueError, OSError) as error:
        raise ValueError(f"hf:{name} (config {config!r}, split {split!r}): {error}") from error
