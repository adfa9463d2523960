"""What of a source is not read, counted and said: rows of other splits, and columns that a kind of row does not use."""

import logging
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from train.finetune.data.config import Kind
from train.finetune.data.reading.files import SPLITS, chooser
from train.finetune.data.reading.kinds import USUAL_OTHERS, unused

logger = logging.getLogger(__name__)

COLUMN = "split"  # of a table that holds several
NAMES = {"train", "test", "validation", "eval"}


class Unread:
    """Counts for one source, `flag` as the user gave it. `split` is the one that is read, None for all."""

    def __init__(self, flag: str, split: str | None):
        self._flag = flag
        self._wanted = None if split is None else _named(re.split(r"[^A-Za-z]", split)[0])  # train of train[:100]
        self._columns: Counter[str] = Counter()
        self._rows: Counter[str] = Counter()
        self._n_read = 0

    def is_of_other_split(self, row: Mapping[str, Any]) -> bool:
        """Whether the column `split` marks the row as one of a split that is not read. Counts the row."""
        split = _named(row.get(COLUMN))
        if self._wanted is None or split is None or split == self._wanted:
            self._n_read += 1
            return False
        self._rows[split] += 1
        return True

    def count_columns(self, row: Mapping[str, Any], kind: Kind) -> None:
        self._columns.update(unused(row, kind))

    def end(self, kind: Kind | None) -> None:
        """Says what was not read. Raises ValueError where no row was of the split."""
        there = ", ".join(f"{count:,} {split}" for split, count in sorted(self._rows.items()))
        if there and not self._n_read:
            raise ValueError(
                f"{self._flag}: no row has {self._wanted!r} in its column {COLUMN!r}; there are {there}. Choose one "
                f"with {chooser(self._flag)}"
            )
        if there:
            logger.warning(
                "%s: rows whose column %r is not %r are left out: %s; %s chooses another",
                self._flag,
                COLUMN,
                self._wanted,
                there,
                chooser(self._flag),
            )
        for name, count in self._columns.items():
            said = f"{self._flag}: column {name!r} is not read of {kind}: filled in {count:,} row(s)"
            cure = f"; --columns {USUAL_OTHERS[name]}={name} reads it" if name in USUAL_OTHERS else ""
            logger.warning("%s%s", said, cure)


def _named(split: Any) -> str | None:
    """The split of a usual name, None for any other value."""
    name = split.strip().lower() if isinstance(split, str) else ""
    name = SPLITS.get(name, name)
    return name if name in NAMES else None
