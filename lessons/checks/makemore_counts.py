"""The checks of lesson 4. Reading them before you have tried gives the answers away."""

import math

import numpy as np

from checks import Wrong, exercise, expect

COUNTS = np.array([[0.0, 3.0, 1.0], [2.0, 4.0, 4.0], [1.0, 0.0, 4.0]])


def _pairs(text: list[int], vocab_size: int) -> np.ndarray:
    counts = np.zeros((vocab_size, vocab_size))
    np.add.at(counts, (text[:-1], text[1:]), 1)
    return counts


@exercise(hint="Write the word with a 0 at both ends. Each neighbouring pair (a, b) adds one to counts[a, b].")
def count_pairs(answer):
    word = [2, 1, 2, 1, 1]
    right = _pairs([0, *word, 0], 3)
    expect(
        answer(word, 3),
        right,
        {
            "the beginning is missing: the first character follows the break, 0.": _pairs([*word, 0], 3),
            "the end is missing: the break, 0, follows the last character.": _pairs([0, *word], 3),
            "both ends are missing: put the break, 0, before and after the word.": _pairs(word, 3),
            "the axes are exchanged: the first index is the character, the second what follows it.": right.T,
            "a pair that occurs twice counts once here: ADD one each time (counts[a, b] += 1 in a loop, or "
            "np.add.at).": np.minimum(right, 1),
        },
        given="the word [2, 1, 2, 1, 1] and three characters",
    )
    expect(
        answer(word, 5),
        _pairs([0, *word, 0], 5),
        {"a row and a column for each of the vocab_size characters, also for those that the word has not.": right},
        given="the same word and five characters",
    )


@exercise(hint="counts.sum(axis=1, keepdims=True) has the shape (V, 1): one sum beside each row.", lends=True)
def to_probabilities(answer):
    lent = COUNTS.copy()
    found = answer(lent)
    if not np.array_equal(lent, COUNTS):
        raise Wrong("the counts themselves were changed: return a new array.")
    with np.errstate(divide="ignore", invalid="ignore"):
        expect(
            found,
            COUNTS / COUNTS.sum(axis=1, keepdims=True),
            {
                "the broadcasting trap: without keepdims the sums of the ROWS were laid over the COLUMNS.": COUNTS
                / COUNTS.sum(axis=1),
                "these are the columns' sums: what PRECEDES a character. Sum over axis 1.": COUNTS / COUNTS.sum(axis=0),
                "this is the probability of the pair: divide each row by its own sum, not all by the total.": COUNTS
                / COUNTS.sum(),
            },
            given="a 3×3 matrix of counts",
        )


@exercise(hint="probabilities[text[:-1], text[1:]] picks all of them at once, for text = [0, *word, 0].")
def loss_of_word(answer):
    probabilities = np.array([[0.1, 0.6, 0.3], [0.2, 0.3, 0.5], [0.4, 0.5, 0.1]])
    word = [1, 2, 2]
    p = probabilities[[0, 1, 2, 2], [1, 2, 2, 0]]
    expect(
        answer(probabilities, word),
        -np.log(p).mean(),
        {
            "the missing mean: this is the sum, which grows with the word.": -np.log(p).sum(),
            "the sign is wrong: log p is negative, the loss is not.": np.log(p).mean(),
            "this is in bits: take the natural logarithm, np.log.": -np.log2(p).mean(),
            "divide by the number of predictions, 4 here: the end of the word is one.": -np.log(p).sum() / 3,
            "the end of the word is a prediction, too: p(break | last character) is missing.": -np.log(p[:-1]).mean(),
            "the beginning is a prediction, too: p(first character | break) is missing.": -np.log(p[1:]).mean(),
            "the mean of the logarithms, not the logarithm of the mean.": -math.log(p.mean()),
            "the indices are exchanged: probabilities[a, b] is that of b AFTER a.": -np.log(
                probabilities[[1, 2, 2, 0], [0, 1, 2, 2]]
            ).mean(),
        },
        given="the word [1, 2, 2]",
    )


@exercise(hint="Add alpha to every count BEFORE the rows are divided by their sums.")
def smoothed(answer):
    for alpha in (1.0, 0.5):
        sums = COUNTS.sum(axis=1, keepdims=True)
        expect(
            answer(COUNTS, alpha),
            (COUNTS + alpha) / (sums + 3 * alpha),
            {
                "the rows no longer sum to 1: the denominator grows by α for each of the V characters.": (
                    COUNTS + alpha
                )
                / sums,
                "the denominator must grow by V·α, not by α: every one of the V counts is larger by α.": (
                    COUNTS + alpha
                )
                / (sums + alpha),
                "α goes to the counts, before the division, not to the probabilities.": COUNTS / sums + alpha,
                "that is without smoothing: alpha is not used.": COUNTS / sums,
                "the broadcasting trap again: keepdims=True.": (COUNTS + alpha) / (COUNTS + alpha).sum(axis=1),
            },
            given=f"a 3×3 matrix of counts, α = {alpha}",
        )
