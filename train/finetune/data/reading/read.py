"""The records of a configuration's files, in order, each with its place."""

from collections.abc import Iterator

from train.finetune.data.config import DataConfig, Kind
from train.finetune.data.reading.fields import values_of
from train.finetune.data.reading.files import VALIDATION
from train.finetune.data.reading.fill import Fill
from train.finetune.data.reading.kinds import NAMES, check_columns, check_renaming, kind_of, renamed
from train.finetune.data.reading.records import Record, record_of
from train.finetune.data.reading.tables import Row, Tables
from train.finetune.data.reading.unread import Unread
from train.prepare.slices import BadRow


def tables(config: DataConfig, for_validation: bool = False) -> Tables:
    """What --data, or --val-data, names."""
    columns = (*config.column_of.values(), *NAMES)
    if for_validation:
        return Tables(config.val_files, config.header, config.val_split, columns, VALIDATION)
    return Tables(config.files, config.header, config.dataset_split, columns)


class Reader:
    """Reads records. `kind` is decided by the first row; `skipped` holds what is wrong with the rows left out."""

    def __init__(self, config: DataConfig):
        self._config, self._fill = config, Fill(config.fill)
        self.kind: Kind | None = None if config.kind == "auto" else config.kind
        self.skipped: list[str] = []

    def records(self, source: Tables) -> Iterator[tuple[str, Record]]:
        """(place, record). Raises ValueError for a row that cannot be used, once more than allowed were left out."""
        first = True
        unread = Unread(source.flag, source.split)
        for place, row in source.rows():
            if not isinstance(row, BadRow):
                if first:
                    self._begin(place, row)
                    first = False
                row = values_of(renamed(row, self._config.column_of))
                if unread.is_of_other_split(row):
                    continue
                unread.count_columns(row, self._kind)
            try:
                yield place, self._record(place, row)
            except ValueError as error:
                self.skip(str(error))
        unread.end(self.kind)

    def skip(self, reason: str) -> None:
        """Leaves a row out, or raises ValueError with the reason."""
        if len(self.skipped) >= self._config.skip_bad_rows:
            raise ValueError(reason) from None
        self.skipped.append(reason)

    def end(self) -> None:
        """Raises ValueError for a --fill that filled nothing."""
        self._fill.check()

    def _begin(self, place: str, row: dict) -> None:
        """The columns of the first row must fit: an error in them concerns all rows."""
        columns = self._config.column_of
        check_renaming(columns, row, place)
        row = renamed(row, columns)
        if self.kind is None:
            self.kind = kind_of(row, place)
        check_columns(row, self.kind, columns, place)

    @property
    def _kind(self) -> Kind:
        assert self.kind is not None  # since the first row
        return self.kind

    def _record(self, place: str, row: Row) -> Record:
        if isinstance(row, BadRow):
            raise ValueError(row.reason)
        check_columns(row, self._kind, self._config.column_of, place)
        try:
            return record_of(self._fill(row), self._kind)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
