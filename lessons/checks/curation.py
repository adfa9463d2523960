"""The checks of lesson 15. Reading them before you have tried gives the answers away."""

import numpy as np

from checks import Wrong, exercise, expect

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}


@exercise(hint="Sets: the words of the text, and the stop words. How many are in both?")
def keeps(answer):
    cases = {
        "the cat and a dog": True,
        "the the the": False,
        "Other bands withhold tobacco": False,
        "The cat sat with a dog": False,
        "cats, dogs": False,
        "of mice and men": True,
    }
    right = list(cases.values())

    def by(rule):
        return [rule(text) for text in cases]

    words = str.split
    expect(
        [bool(answer(text)) for text in cases],
        right,
        {
            "two *different* words: 'the the the' is one.": by(lambda t: sum(w in STOP_WORDS for w in words(t)) >= 2),
            "as words, not as parts of words: 'the' is inside of 'Other'.": by(
                lambda t: sum(w in t for w in STOP_WORDS) >= 2
            ),
            "as they are written: Gopher's filter does not lower letters.": by(
                lambda t: len(STOP_WORDS & set(words(t.lower()))) >= 2
            ),
            "one is not enough: at least two.": by(lambda t: len(STOP_WORDS & set(words(t))) >= 1),
            "two are enough.": by(lambda t: len(STOP_WORDS & set(words(t))) > 2),
            "it is the other way round: True for what is kept.": [not one for one in right],
        },
        given="six short texts",
    )


def _wilson(k, n, z=1.96, half=1.0):
    p = k / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    reach = half * z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return middle - reach, middle + reach


@exercise(hint="Compute p, then the middle and the reach; both are divided by 1 + z²/n.")
def wilson(answer):
    k, n, z = 7, 40, 1.96
    p = k / n
    usual = z * np.sqrt(p * (1 - p) / n)
    middle, reach = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    inside = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n))
    expect(
        answer(k, n),
        _wilson(k, n),
        {
            "that is the usual interval; Wilson's is not symmetric around k/n.": (p - usual, p + usual),
            "divide by 1 + z²/n.": (middle - reach, middle + reach),
            "under the root it is z²/(4n²).": (
                (middle - inside) / (1 + z * z / n),
                (middle + inside) / (1 + z * z / n),
            ),
            "that is the upper end first.": _wilson(k, n)[::-1],
            "the root is multiplied by z.": _wilson(k, n, half=1 / z),
        },
        given="7 of 40",
    )
    expect(answer(0, 20), _wilson(0, 20), given="0 of 20")
    expect(answer(5, 10, 1.0), _wilson(5, 10, 1.0), given="5 of 10 and z = 1")


def _removals(fires):
    first = np.where(fires.any(1), fires.argmax(1), -1)
    alone = fires.sum(0)
    in_order = np.array([(first == r).sum() for r in range(fires.shape[1])])
    return alone, in_order, (fires & (fires.sum(1) == 1)[:, None]).sum(0)


@exercise(hint="In order: the first rule that fires counts. Left out: documents on which exactly one rule fires.")
def removals(answer):
    fires = np.random.default_rng(1).random((60, 4)) < np.array([0.2, 0.4, 0.3, 0.5])
    alone, in_order, left_out = _removals(fires)
    last = np.where(fires.any(1), fires.shape[1] - 1 - fires[:, ::-1].argmax(1), -1)
    from_the_end = np.array([(last == r).sum() for r in range(4)])
    with_kept = in_order + np.array([(~fires.any(1)).sum(), 0, 0, 0])
    expect(
        answer(fires),
        (alone, in_order, left_out),
        {
            "a document is removed once: in order, it is the first rule that counts.": (alone, alone, left_out),
            "documents that no rule removes belong to none; argmax gives them to the first.": (
                alone,
                with_kept,
                left_out,
            ),
            "the rules run from left to right.": (alone, from_the_end, left_out),
            "left out: another rule may still remove the document.": (alone, in_order, alone),
            "left out is not in order: a later rule may remove the document, too.": (alone, in_order, in_order),
        },
        given="60 documents and 4 rules",
    )
    none = np.zeros((5, 2), bool)
    expect(answer(none), (np.zeros(2), np.zeros(2), np.zeros(2)), given="rules that remove nothing")


@exercise(hint="All hashes of one bucket agree: s to the power … . None of the buckets agrees: … . And the opposite?")
def found(answer):
    s, b, r = 0.75, 14, 8
    expect(
        answer(s, b, r),
        1 - (1 - s**r) ** b,
        {
            "that is the probability that no bucket agrees.": (1 - s**r) ** b,
            "that is one bucket alone.": s**r,
            "buckets and hashes are exchanged.": 1 - (1 - s**b) ** r,
            "probabilities of several buckets are not added: they may agree both.": b * s**r,
            "all hashes of a bucket, any bucket: you have any hash, all buckets.": (1 - (1 - s) ** r) ** b,
            "that needs all buckets.": s ** (r * b),
        },
        given="s = 0.75, 14 buckets of 8",
    )
    expect(answer(1.0, 3, 5), 1.0, given="equal documents")
    expect(answer(0.5, 1, 1), 0.5, given="one hash")


@exercise(hint="Variances of independent means are added; the mean of m of them has their sum over m².")
def standard_error(answer):
    accuracies, n = [0.3, 0.5, 0.8], 400
    a = np.array(accuracies)
    variances = a * (1 - a) / n
    expect(
        answer(accuracies, n),
        np.sqrt(variances.sum()) / 3,
        {
            "that is the mean of the errors; the errors of several benchmarks cancel in part.": np.sqrt(
                variances
            ).mean(),
            "divide by the number of benchmarks: it is the error of a mean, not of a sum.": np.sqrt(variances.sum()),
            "the variance of a mean is the sum over m², so its root is over m, not over √m.": np.sqrt(variances.mean()),
            "the root is missing: that is the variance.": variances.sum() / 9,
            "a mean of accuracies is not the accuracy of a mean: each benchmark has its own variance.": np.sqrt(
                a.mean() * (1 - a.mean()) / (3 * n)
            ),
            "the number of items belongs under the root.": np.sqrt((a * (1 - a)).sum()) / 3 / n,
        },
        given="accuracies 0.3, 0.5 and 0.8 on 400 items each",
    )
    try:
        one = float(answer([0.5], 100))
    except (TypeError, ValueError):
        raise Wrong("for one benchmark, the error is a number") from None
    expect(one, 0.05, given="one benchmark of 100 items, accuracy 0.5")
