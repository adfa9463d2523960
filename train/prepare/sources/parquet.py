"""A parquet file by its row groups. Whatever pyarrow says of a damaged one, the error names file and row group."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from train.prepare.sources.arrow import BATCH_ROWS, naming_damage

if TYPE_CHECKING:
    from pyarrow import RecordBatch


DAMAGED = "not a readable parquet file: damaged or cut short"


class ParquetTable:
    """An open file. Its methods raise ValueError that names a file that is not readable."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self._path = path
        with self._naming():
            # A file whose writer added checksums of its pages is compared with them.
            self._file = pq.ParquetFile(path, page_checksum_verification=True)
            self.schema = self._file.schema_arrow
            self._rows = [self._file.metadata.row_group(i).num_rows for i in range(self._file.num_row_groups)]
            promised = self._file.metadata.num_rows
        if min(self._rows, default=0) < 0 or sum(self._rows) != promised:
            raise ValueError(f"{path}: {DAMAGED} (its row groups do not add up to its rows); copy it again")

    def groups(self, column: str) -> Iterator[tuple[int, int]]:
        """For each row group its rows, and the bytes of the column, not compressed."""
        leaves = [leaf for leaf in range(len(self._file.schema)) if self._file.schema.column(leaf).path == column]
        for number, n_rows in enumerate(self._rows):
            with self._naming(number):
                meta = self._file.metadata.row_group(number)
                # Of this column alone: pyarrow aborts the process where a column's size statistics are damaged.
                size = sum(meta.column(leaf).total_uncompressed_size for leaf in leaves)
            yield n_rows, size

    def all_batches(self) -> Iterator["RecordBatch"]:
        """All rows and columns, a few rows at a time."""
        for number in range(len(self._rows)):
            yield from self.batches(number, None)

    def batches(self, number: int, columns: Sequence[str] | None) -> Iterator["RecordBatch"]:
        """A row group, a few rows at a time; None for all columns."""
        row = 0
        with self._naming(number):
            batches = self._file.iter_batches(batch_size=BATCH_ROWS, row_groups=[number], columns=columns)
        while True:
            with self._naming(number):
                batch = next(batches, None)
            if batch is None:
                break
            yield batch
            row += len(batch)
        if row != self._rows[number]:
            raise ValueError(
                f"{self._path}, row group {number:,}: {DAMAGED} ({row:,} rows; expected {self._rows[number]:,}); "
                "copy it again"
            )

    def _naming(self, number: int | None = None):
        place = str(self._path) if number is None else f"{self._path}, row group {number:,}"
        return naming_damage(place, "parquet file")
