"""The checks of lesson 5. Reading them before you have tried gives the answers away."""

import warnings

import numpy as np

from checks import Wrong, exercise, expect


@exercise(hint="Start with [0] * context. For each character of the word and the final 0: note both, then slide.")
def windows_of(answer):
    right = ([[0, 0, 0], [0, 0, 5], [0, 5, 3], [5, 3, 5]], [5, 3, 5, 0])
    expect(
        _as_lists(answer([5, 3, 5], 3)),
        right,
        {
            "the end of the word is missing: after the last character comes the break, 0.": (
                right[0][:-1],
                right[1][:-1],
            ),
            "all windows are the same list, changed afterwards: make a new one each time (window[1:] + [character]).": (
                [[3, 5, 0]] * 4,
                right[1],
            ),
            "the windows hold the character they are to predict: note the window BEFORE it slides.": (
                [[0, 0, 5], [0, 5, 3], [5, 3, 5], [3, 5, 0]],
                right[1],
            ),
            "the newest character belongs at the end of the window, on the right.": (
                [[0, 0, 0], [5, 0, 0], [3, 5, 0], [5, 3, 5]],
                right[1],
            ),
        },
        given="the word [5, 3, 5] and a context of 3",
    )
    expect(
        _as_lists(answer([1, 2], 2)),
        ([[0, 0], [0, 1], [1, 2]], [1, 2, 0]),
        {
            "windows are as long as `context` says: start with [0] * context.": (
                [[0, 0, 0], [0, 0, 1], [0, 1, 2]],
                [1, 2, 0],
            ),
            "the word is read backwards: its first character comes first.": ([[0, 0], [0, 2], [2, 1]], [2, 1, 0]),
        },
        given="the word [1, 2] and a context of 2",
    )


def _as_lists(found):
    """Windows and targets of any kind, arrays included, as lists of whole numbers."""
    if isinstance(found, tuple | list) and len(found) == 2:
        return [list(map(int, window)) for window in found[0]], [int(target) for target in found[1]]
    return found


@exercise(hint="table[ids] has the shape (B, T, E). Only its last two axes have to become one.")
def embed(answer):
    table = np.arange(12.0).reshape(4, 3)
    ids = np.array([[0, 2], [3, 1], [1, 1]])
    right = table[ids].reshape(3, 6)
    expect(
        np.asarray(answer(table, ids)),
        right,
        {
            "this has the shape (B, T, E): lay the T vectors of a row side by side.": table[ids],
            "the vectors are added, so their order is lost: side by side instead.": table[ids].sum(axis=1),
            "the vectors are averaged, so their order is lost: side by side instead.": table[ids].mean(axis=1),
            "the numbers are interleaved: reshape without transposing first.": table[ids]
            .transpose(0, 2, 1)
            .reshape(3, 6),
        },
        given="a table of shape (4, 3) and ids of shape (3, 2)",
    )


@exercise(hint="log Σ exp z − z_target, per row. Take the row's largest logit out before exp, and mean at the end.")
def cross_entropy(answer):
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(5, 4)), np.array([0, 3, 1, 1, 2])
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    rows = np.arange(5)
    losses = -np.log(p[rows, targets])
    columns = np.exp(logits) / np.exp(logits).sum(axis=0)
    expect(
        answer(logits, targets),
        losses.mean(),
        {
            "the missing mean: this is the sum over the rows.": losses.sum(),
            "the sign is wrong.": -losses.mean(),
            "one loss for each row: return their mean.": losses,
            "the sum of the exponentials runs over the classes of a row (axis 1), not over the batch.": -np.log(
                columns[rows, targets]
            ).mean(),
            "that is the probability; its negative logarithm is the loss.": p[rows, targets].mean(),
            "the mean of the logarithms, not the logarithm of the mean.": -np.log(p[rows, targets].mean()),
            "the logarithm of Σ exp z is missing: that is the negative logit alone.": -logits[rows, targets].mean(),
        },
        given="random logits of shape (5, 4)",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        large = answer(np.array([[1000.0, 0.0], [0.0, -1000.0]]), np.array([1, 0]))
    if not np.isfinite(large):
        raise Wrong(f"right for small logits, but {large} for a logit of 1000: take the largest of each row out first.")
    expect(large, 500.0, given="logits [[1000, 0], [0, −1000]] and targets [1, 0]")


@exercise(hint="x.reshape(B, T // 2, 2 * E): in memory, neighbours already lie side by side.")
def fuse_pairs(answer):
    x = np.arange(48.0).reshape(2, 8, 3)
    expect(
        np.asarray(answer(x)),
        x.reshape(2, 4, 6),
        {
            "this joins t with t + T/2; neighbours are 2t and 2t + 1.": np.concatenate([x[:, :4], x[:, 4:]], axis=-1),
            "the first of each pair comes first: even positions left, odd ones right.": np.concatenate(
                [x[:, 1::2], x[:, ::2]], axis=-1
            ),
            "the pairs are added, so their order is lost: side by side instead.": x[:, ::2] + x[:, 1::2],
            "everything is fused at once; only pairs of neighbours.": x.reshape(2, 24),
            "windows would overlap: each position belongs to one pair only.": np.concatenate(
                [x[:, :-1], x[:, 1:]], axis=-1
            ),
        },
        given="x of shape (2, 8, 3)",
    )
