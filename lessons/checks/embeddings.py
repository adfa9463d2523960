"""The checks of lesson 11. Reading them before you have tried gives the answers away."""

import math

import numpy as np

from checks import Wrong, exercise, expect

RANDOM = np.random.default_rng(0)


@exercise(hint="√(f/t) + 1, times t/f. What is the largest value that a probability may have?")
def kept(answer):
    f, t = 0.05, 0.001
    expect(
        float(answer(f, t)),
        (math.sqrt(f / t) + 1) * t / f,
        {
            "that is the paper's formula, √(t/f); word2vec.c adds t/f to it.": math.sqrt(t / f),
            "that is the paper's probability of LEAVING OUT; asked is that of keeping, by word2vec.c.": 1
            - math.sqrt(t / f),
            "that is the probability of leaving out: take 1 minus it.": 1 - (math.sqrt(f / t) + 1) * t / f,
            "t and f are exchanged in the last factor.": (math.sqrt(f / t) + 1) * f / t,
            "t and f are exchanged under the root.": (math.sqrt(t / f) + 1) * t / f,
        },
        given="f = 0.05, t = 0.001",
    )
    expect(
        float(answer(0.0001, t)),
        1.0,
        {"a probability is at most 1: rare words are always kept.": (math.sqrt(0.1) + 1) * 10},
        given="f = 0.0001, t = 0.001",
    )


@exercise(hint="counts**0.75, and divide by the sum of THAT.")
def drawn(answer):
    counts = np.array([1000.0, 100.0, 10.0])
    power = counts**0.75
    share = counts / counts.sum()
    expect(
        answer(counts),
        power / power.sum(),
        {
            "that is the words' own frequency: the power 0.75 is missing.": share,
            "they do not sum to 1: divide after taking the power.": share**0.75,
            "they do not sum to 1: divide by the sum of the powers, not of the counts.": power / counts.sum(),
            "the powers are not divided by their sum.": power,
            "the power is 0.75, not 1/0.75.": counts ** (4 / 3) / (counts ** (4 / 3)).sum(),
            "every word is drawn alike; frequent ones should come more often.": np.full(3, 1 / 3),
        },
        given="counts 1000, 100, 10",
    )


@exercise(hint="Each score s has the derivative σ(s) − label. x has a share in all scores.")
def pair_gradients(answer):
    x, y, negatives = RANDOM.normal(size=4), RANDOM.normal(size=4), RANDOM.normal(size=(3, 4))

    def sigmoid(s):
        return 1 / (1 + np.exp(-s))

    of_y, of_n = sigmoid(x @ y) - 1, sigmoid(negatives @ x)
    right = (of_y * y + of_n @ negatives, of_y * x, of_n[:, None] * x)
    found = answer(x, y, negatives)
    if not (isinstance(found, tuple | list) and len(found) == 3):
        raise Wrong("return three things: dx, dy, dnegatives.")
    wrong_n = sigmoid(negatives @ x) - 1
    expect(
        found,
        right,
        {
            "the sign: that is the direction of the step, and the gradient points uphill in the LOSS.": tuple(
                -part for part in right
            ),
            "x stands in every score: the negatives' share of dx is missing.": (of_y * y, *right[1:]),
            "dx has the negatives' share, and lacks that of y.": (of_n @ negatives, *right[1:]),
            "negatives have the label 0: their derivative is σ(s), not σ(s) − 1.": (
                of_y * y + wrong_n @ negatives,
                right[1],
                wrong_n[:, None] * x,
            ),
            "the labels are exchanged: y is a true neighbour.": (
                sigmoid(x @ y) * y + wrong_n @ negatives,
                sigmoid(x @ y) * x,
                wrong_n[:, None] * x,
            ),
            "each negative has a gradient of its own: dnegatives has a row for each.": (*right[:2], of_n.sum() * x),
            "dy and dx are exchanged.": (right[1], right[0], right[2]),
        },
        given="random vectors of 4 numbers and 3 negatives",
    )


@exercise(hint="wanted = b − a + c; then max over the words that are none of the three.")
def analogy(answer):
    angles = {"man": 0, "king": 40, "woman": 18, "queen": 70, "princess": 90, "pear": 200}
    vectors = {word: np.array([math.cos(math.radians(a)), math.sin(math.radians(a))]) for word, a in angles.items()}

    def best(wanted, out):
        return max((word for word in vectors if word not in out), key=lambda word: vectors[word] @ wanted)

    wanted = vectors["king"] - vectors["man"] + vectors["woman"]
    question = ("man", "king", "woman")
    mistakes = {}
    for message, wrong in (
        ("leave out all three words of the question, b too.", best(wanted, ("man", "woman"))),
        ("that is a + b − c or the like: the vector is b − a + c.", best(-wanted, question)),
        ("that is a − b + c: b and a are exchanged.", best(2 * vectors["woman"] - wanted, question)),
    ):
        if wrong != "queen":
            mistakes.setdefault(message, wrong)
    found = answer(vectors, *question)
    if found in question:
        raise Wrong(f"{found!r} is a word of the question; leave all three of them out.")
    expect(found, "queen", mistakes, given="man, king, woman")
    expect(answer(vectors, "woman", "queen", "man"), "king", given="woman, queen, man")


@exercise(hint="The sum of all counts, of a row, of a column. Fill only the places where a count is not 0.")
def ppmi(answer):
    counts = np.array([[0.0, 8.0, 2.0], [8.0, 2.0, 0.0], [2.0, 0.0, 6.0]])
    rows, total = counts.sum(axis=1), counts.sum()
    with np.errstate(divide="ignore"):
        information = np.log(counts * total / np.outer(rows, rows))
    right = np.maximum(information, 0)
    seen = np.where(counts > 0, information, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.asarray(answer(counts), float)
    if found.shape == (3, 3) and not np.isfinite(found).all():
        raise Wrong("log 0 is −∞: where the count is 0, the result is 0.")
    with np.errstate(divide="ignore"):
        without_total = np.maximum(np.log(counts / np.outer(rows, rows)), 0)
        by_rows = np.maximum(np.log(counts / rows[:, None]), 0)
    expect(
        found,
        right,
        {
            "what is below 0 becomes 0.": seen,
            "the logarithm is the natural one.": right / math.log(2),
            "N, the sum of all counts, is missing: it stands above the line.": without_total,
            "that is log p(y | x): it has to be compared with p(y).": by_rows,
        },
        given="counts of three words",
    )


@exercise(hint="Multiply by is_token, sum over the tokens, divide by how many there are.")
def sentence_vectors(answer):
    hidden = RANDOM.normal(size=(2, 4, 3))
    is_token = np.array([[True, True, False, False], [True, True, True, True]])
    masked = hidden * is_token[:, :, None]
    right = masked.sum(axis=1) / is_token.sum(axis=1)[:, None]
    expect(
        answer(hidden, is_token),
        right,
        {
            "the padding is averaged in: 82.03 becomes 79.07 with it.": hidden.mean(axis=1),
            "that is the first token's state: 82.03 becomes 73.50 with it.": hidden[:, 0],
            "divided by the length with padding; divide by how many tokens the sentence has.": masked.mean(axis=1),
            "that is the sum; divide by how many tokens the sentence has.": masked.sum(axis=1),
            "that is the last state, which may be padding.": hidden[:, -1],
            "that is the largest value of each number, max pooling; asked is the mean.": hidden.max(axis=1),
        },
        given="two sentences of 2 and 4 tokens",
    )


@exercise(hint="The dot product of two rows, divided by the lengths of both.")
def similarities(answer):
    a, b = RANDOM.normal(size=(3, 4)), RANDOM.normal(size=(3, 4))
    dots = (a * b).sum(axis=1)
    lengths = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    expect(
        answer(a, b),
        dots / (lengths[0] * lengths[1]),
        {
            "that is the dot product, without the lengths: 82.03 becomes 53.77 with it.": dots,
            "divided by one length only.": dots / lengths[0],
            "divided by one length only; a's is missing.": dots / lengths[1],
            "divided by the squares of the lengths: take the root.": dots / (lengths[0] * lengths[1]) ** 2,
            "each row with the SAME row, not with all.": (a @ b.T) / np.outer(*lengths),
            "that is the distance; asked is the cosine.": np.linalg.norm(a - b, axis=1),
        },
        given="three pairs of random vectors",
    )
