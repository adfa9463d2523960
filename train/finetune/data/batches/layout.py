"""The rows of an epoch and their order: a pure function of (lengths, batch size, seed, epoch)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from train.data.order import permute
from train.finetune.data.batches.batch import NONE
from train.finetune.data.batches.buckets import STEP, bucket_of, lengths_for
from train.finetune.data.batches.packing import best_fit

Rows = list[list[int]]  # the examples of every row


@dataclass(frozen=True)
class Planned:
    """One batch: rows of examples, an empty one where there are too few; and T."""

    rows: Rows
    length: int


class Layout(Protocol):
    shapes: tuple[int, ...]  # every T
    batches: int  # of an epoch

    def epoch(self, number: int) -> Sequence[Planned]: ...


class Bucketed:
    """One example a row; the rows of a batch are of one bucket.

    What a bucket has left over when its batches are full goes to the next longer one, so that each epoch shows every
    example once, and only its last batch has rows to spare.
    """

    def __init__(self, lengths: np.ndarray, longest: int, batch_size: int, seed: int | None):
        self.shapes = lengths_for(lengths, longest)
        self._bucket = bucket_of(lengths, self.shapes)
        self._batch_size, self._seed = batch_size, seed
        self.batches = -(-len(lengths) // batch_size)

    def epoch(self, number: int) -> list[Planned]:
        count = len(self._bucket)
        order = shuffled(count, self._seed, number)
        batches: list[Planned] = []
        left: list[int] = []
        for bucket, length in enumerate(self.shapes):
            here = [*left, *order[self._bucket[order] == bucket].tolist()]
            full = len(here) - len(here) % self._batch_size
            batches += [
                Planned(_alone(here[i : i + self._batch_size]), length) for i in range(0, full, self._batch_size)
            ]
            left = here[full:]
        if left:
            rows = _alone(left) + [[] for _ in range(self._batch_size - len(left))]
            batches.append(Planned(rows, self.shapes[int(self._bucket[left].max())]))
        assert len(batches) == self.batches
        # The batch with rows to spare keeps its place at the end.
        mixed = shuffled(len(batches) - bool(left), self._seed, number, "batches")
        return [batches[i] for i in mixed] + batches[len(mixed) :]


class Packed:
    """Several examples a row, by best fit; every row has the same length, no more than all examples need."""

    def __init__(self, lengths: np.ndarray, length: int, batch_size: int, seed: int | None):
        length = min(length, -(-int(lengths.sum()) // STEP) * STEP)
        self.shapes = (length,)
        self._lengths, self._batch_size, self._seed = lengths, batch_size, seed
        self._falling = np.sort(lengths)[::-1]
        self._row = best_fit(self._falling, length + 1)  # the last token of a row is only a target
        self.rows = int(self._row.max()) + 1
        self.batches = -(-self.rows // batch_size)

    def epoch(self, number: int) -> list[Planned]:
        order = shuffled(len(self._lengths), self._seed, number)
        order = order[np.argsort(-self._lengths[order], kind="stable")]  # equal lengths in another order each epoch
        rows: Rows = [[] for _ in range(self.batches * self._batch_size)]
        place = shuffled(self.rows, self._seed, number, "rows")
        for example, row in zip(order.tolist(), place[self._row].tolist(), strict=True):
            rows[row].append(example)
        size = self._batch_size
        return [Planned(rows[i : i + size], self.shapes[0]) for i in range(0, len(rows), size)]


def shuffled(count: int, seed: int | None, epoch: int, what: str = "") -> np.ndarray:
    """range(count) in the order of an epoch; as it is without a seed."""
    if seed is None or count < 2:
        return np.arange(count)
    return permute(np.arange(count), count, seed, epoch if not what else _other(epoch, what))


def _other(epoch: int, what: str) -> int:
    """A number that no other shuffle has: negative numbers are of no epoch."""
    return -1 - 2 * epoch - (what == "rows")


def _alone(examples: list[int]) -> Rows:
    return [[example] for example in examples]


def first_of(rows: Rows) -> list[int]:
    """The first example of each row, `NONE` for a row without."""
    return [row[0] if row else NONE for row in rows]
