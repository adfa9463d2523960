"""`FinetuneBatches`: the batch of a step, as a pure function of (prepared examples, seed, batch size, step).

Every epoch shows every example once, in another order. There is no state: a resumed run continues from its step's
number. The rows of the epoch at hand are planned once and kept.
"""

from functools import lru_cache

import numpy as np

from train.finetune.data.batches.batch import Batch, LabelBatch, collate, collate_labelled
from train.finetune.data.batches.layout import Bucketed, Layout, Packed, Planned, first_of
from train.finetune.data.example import Example, Labelled, Pair
from train.finetune.data.prepared import Prepared

Shape = tuple[int, int]  # (B, T)


class FinetuneBatches:
    """The batches of one split.

    Args:
        prepared: the examples.
        split: train or val.
        batch_size: examples of a step (of preferences: pairs, so twice as many rows); packed: rows.
        seed: of the order; None leaves the examples in the order of their lengths' buckets, as validation does.
        packing: whether several examples share a row.

    Raises:
        ValueError: there is no such split, or pairs or labelled texts are to be packed.
    """

    def __init__(self, prepared: Prepared, split: str, batch_size: int, seed: int | None, packing: bool = False):
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1 example; got {batch_size}")
        if packing and prepared.kind in ("preferences", "labelled"):
            raise ValueError(f"--packing joins texts that are learned one by one; got {prepared.kind}: leave it out")
        self.prepared, self.split, self.batch_size, self.packing = prepared, split, batch_size, packing
        self._arrays = prepared.arrays(split)
        lengths = prepared.lengths(split)
        # Of n tokens n − 1 are inputs, but a classifier reads all.
        inputs = lengths if prepared.kind == "labelled" else lengths - 1
        longest = prepared.max_length
        self._layout: Layout = (
            Packed(lengths, longest, batch_size, seed) if packing else Bucketed(inputs, longest, batch_size, seed)
        )
        self._epoch = lru_cache(maxsize=2)(self._layout.epoch)

    @property
    def batches_per_epoch(self) -> int:
        return self._layout.batches

    def shapes(self) -> tuple[Shape, ...]:
        """(B, T) of every batch that there can be: what is compiled."""
        rows = self.batch_size * (2 if self.prepared.kind == "preferences" else 1)
        return tuple((rows, length) for length in self._layout.shapes)

    def batch(self, step: int) -> Batch | LabelBatch:
        """The batch of step `step`, counted from 0 over all epochs."""
        epoch, number = divmod(step, self.batches_per_epoch)
        return self._made(self._epoch(epoch)[number])

    def padding(self) -> float:
        """Share of the positions of an epoch that hold no input."""
        planned, rows = self._epoch(0), 1
        inputs = self.prepared.lengths(self.split)
        if self.prepared.kind == "preferences":
            inputs, rows = (self._arrays.lengths - 1).reshape(-1, 2).sum(axis=1), 2
        elif self.prepared.kind != "labelled" and not self.packing:
            inputs = inputs - 1
        # A full packed row has one token more than inputs.
        used = sum(min(int(inputs[row].sum()), rows * one.length) for one in planned for row in one.rows)
        return 1 - used / sum(rows * len(one.rows) * one.length for one in planned)

    def _made(self, planned: Planned) -> Batch | LabelBatch:
        index, pad = first_of(planned.rows), self.prepared.pad_id
        examples = [[self.prepared.example(self.split, number) for number in row] for row in planned.rows]
        if self.prepared.kind == "labelled":
            labelled = [next((one for one in row if isinstance(one, Labelled)), None) for row in examples]
            return collate_labelled(labelled, planned.length, pad, index)
        if self.prepared.kind == "preferences":
            pairs = [[one for one in row if isinstance(one, Pair)] for row in examples]
            halves = [[[pair[side] for pair in row] for row in pairs] for side in (0, 1)]
            return collate([*halves[0], *halves[1]], planned.length, pad, index * 2, is_packed=False)
        rows = [[one for one in row if isinstance(one, Example)] for row in examples]
        return collate(rows, planned.length, pad, index, self.packing)


def targets_of(batch: Batch) -> np.ndarray:
    """The targets with −100 where nothing is learned, as PyTorch has them: int64 [B, T]."""
    return np.where(batch.weights_BT > 0, batch.tokens_BT[:, 1:], -100).astype(np.int64)
