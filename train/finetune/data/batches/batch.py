"""What a batch holds, and how examples become its rows."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from train.finetune.data.example import Example, Labelled

NONE = -1  # in `index_B`: a row without an example


class Batch(NamedTuple):
    """Rows of one length T: inputs `tokens_BT[:, :-1]`, targets `tokens_BT[:, 1:]`.

    Of preferences a batch of n pairs has B = 2·n rows: first the n chosen answers, then the n rejected ones, so pair i
    is in rows i and i + n. The last batch of an epoch may have rows without an example: their weights are 0.
    """

    tokens_BT: np.ndarray  # int32 [B, T + 1]
    weights_BT: np.ndarray  # float32 [B, T]: 1 where the target is trained, else 0
    segments_BT: np.ndarray | None  # int32 [B, T]: which example of its row each input is of, padding being one more;
    # None where rows are not packed
    index_B: (
        np.ndarray
    )  # int64 [B]: which example (or pair) of the split a row holds, the first one of a packed row; −1
    # for a row without


class LabelBatch(NamedTuple):
    """Labelled texts of one length T, padded on the right."""

    tokens_BT: np.ndarray  # int32 [B, T]
    last_B: np.ndarray  # int32 [B]: position of the last real token
    label_B: np.ndarray  # int32 [B]
    weights_B: np.ndarray  # float32 [B]: 1, or 0 for a row without an example
    index_B: np.ndarray  # int64 [B]: which example of the split, −1 for none


def collate(
    rows: Sequence[Sequence[Example]], length: int, pad_id: int, index: Sequence[int], is_packed: bool
) -> Batch:
    """Rows of one or (packed) several examples each, with T = `length`.

    Padding is recognised by length, never by its id: where the end of a text also pads, no padding is learned.
    The first token of an example is no target, whatever stands before it.
    """
    tokens = np.full((len(rows), length + 1), pad_id, np.int32)
    weights = np.zeros((len(rows), length + 1), np.float32)
    segments = np.zeros((len(rows), length + 1), np.int32)
    for row, examples in enumerate(rows):
        at = 0
        for number, example in enumerate(examples):
            here = slice(at, at + len(example.ids))
            tokens[row, here], weights[row, here], segments[row, here] = example.ids, example.trained, number
            weights[row, at] = 0
            at += len(example.ids)
        segments[row, at:] = len(examples)
    return Batch(tokens, weights[:, 1:], segments[:, :-1] if is_packed else None, np.array(index, np.int64))


def collate_labelled(rows: Sequence[Labelled | None], length: int, pad_id: int, index: Sequence[int]) -> LabelBatch:
    """One text a row, None for a row without; T = `length`."""
    tokens = np.full((len(rows), length), pad_id, np.int32)
    last, labels, weights = (
        np.zeros(len(rows), np.int32),
        np.zeros(len(rows), np.int32),
        np.zeros(len(rows), np.float32),
    )
    for row, one in enumerate(rows):
        if one is not None:
            tokens[row, : len(one.ids)] = one.ids
            last[row], labels[row], weights[row] = len(one.ids) - 1, one.label, 1
    return LabelBatch(tokens, last, labels, weights, np.array(index, np.int64))
