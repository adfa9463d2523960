"""The size of the engine's batch: few rows and few columns while few and short requests are served.

The time of a step grows with the cache, used or not. GPT-2 124M on two cores, 8 rows: 31 ms with 1,024 columns, 22 ms
with 256; with one row 12 ms. Each size is four times the one before, so that few programs are compiled: 1, 4, 16 …
rows and 256, 1,024 … columns.
"""

from collections.abc import Sequence
from typing import NamedTuple

FEWEST_COLUMNS = 256
FACTOR = 4
PATIENCE = 32  # steps in a row for which a smaller size must suffice, because a change copies the cache


class Size(NamedTuple):
    rows: int
    columns: int  # tokens of a row, prompt and answer


class Sizes:
    """Chooses the next size: a larger one at once, a smaller one after `PATIENCE` steps."""

    def __init__(self, most: Size):
        self.most = most
        self._spare = 0

    def fitting(self, lengths: Sequence[int]) -> Size:
        """The smallest size for requests of these final lengths, in tokens."""
        rows = _enough(1, len(lengths), self.most.rows)
        return Size(rows, _enough(FEWEST_COLUMNS, max(lengths, default=0), self.most.columns))

    def columns(self) -> list[int]:
        """All numbers of columns that occur, from the smallest."""
        columns = [min(FEWEST_COLUMNS, self.most.columns)]
        while columns[-1] < self.most.columns:
            columns.append(min(columns[-1] * FACTOR, self.most.columns))
        return columns

    def at_least(self, now: Size, lengths: Sequence[int]) -> Size:
        """`now`, or larger where these requests need it."""
        fitting = self.fitting(lengths)
        return Size(max(fitting.rows, now.rows), max(fitting.columns, now.columns))

    def after(self, now: Size, lengths: Sequence[int]) -> Size:
        """The size of the next step; called once a step. Smaller when that has sufficed for `PATIENCE` steps."""
        size, fitting = self.at_least(now, lengths), self.fitting(lengths)
        self._spare = self._spare + 1 if fitting != size == now else 0
        if self._spare < PATIENCE:
            return size
        self._spare = 0
        return fitting


def _enough(least: int, need: int, most: int) -> int:
    while least < need:
        least *= FACTOR
    return min(least, most)
