"""Lines as arrays that a model can learn from: windows, or sequences.

Either way the predictions are the same: every character of every line, and its break, from what comes before it. So the
mean losses of all models can be compared.
"""

from typing import NamedTuple

import numpy as np

from train.first_principles.makemore.dataset.lines import BREAK


class Examples(NamedTuple):
    """N examples. Windows: T characters and the one that follows. Sequences: a line, and the same shifted by one."""

    inputs: np.ndarray  # int32 [N, T]
    targets: np.ndarray  # int32 [N] or [N, T]
    weights: np.ndarray  # float32, shaped like the targets: 0 where a sequence is padded

    @property
    def predictions(self) -> int:
        return int(self.weights.sum())


def windows(lines: list[np.ndarray], context: int) -> Examples:
    """Every window of `context` characters; what lies before a line's beginning is filled with line breaks.

    >>> windows([np.array([5, 3])], 3).inputs.tolist(), windows([np.array([5, 3])], 3).targets.tolist()
    ([[0, 0, 0], [0, 0, 5], [0, 5, 3]], [5, 3, 0])
    """
    text = np.concatenate([np.concatenate([np.full(context, BREAK), line, [BREAK]]) for line in lines]).astype(np.int32)
    # One line after the other: a window that would reach from one line into the next ends in the next one's padding.
    lengths = np.array([len(line) + 1 for line in lines])
    starts = np.repeat(np.cumsum(lengths + context) - lengths - context, lengths)
    starts += np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    inputs = text[starts[:, None] + np.arange(context)]
    targets = text[starts + context]
    return Examples(inputs, targets, np.ones(len(targets), np.float32))


def sequences(lines: list[np.ndarray], length: int) -> Examples:
    """Every line from its break to its break, padded to `length`, at least one more than the longest line.

    >>> sequences([np.array([5, 3])], 4).inputs.tolist(), sequences([np.array([5, 3])], 4).targets.tolist()
    ([[0, 5, 3, 0]], [[5, 3, 0, 0]])
    """
    inputs, targets = np.full((2, len(lines), length), BREAK, np.int32)
    lengths = np.array([len(line) for line in lines])
    for row, line in enumerate(lines):
        inputs[row, 1 : len(line) + 1] = line
        targets[row, : len(line)] = line
    return Examples(inputs, targets, (np.arange(length) <= lengths[:, None]).astype(np.float32))
