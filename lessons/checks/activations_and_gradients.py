"""The checks of lesson 6. Reading them before you have tried gives the answers away."""

import numpy as np

from checks import exercise, expect


@exercise(hint="A column of True: .all(axis=0). Which axis are the examples?")
def count_dead(answer):
    h = np.array([[0.999, -0.999, 0.5, 0.995, 0.1], [0.995, 0.0, 0.4, -0.995, 0.2], [0.991, -1.0, 0.999, 0.999, 0.3]])
    saturated = np.abs(h) > 0.99
    expect(
        answer(h),
        2,
        {
            "this counts units that are saturated for SOME example; dead ones are saturated for all.": int(
                saturated.any(axis=0).sum()
            ),
            "these are saturated values; count the units all of whose values are.": int(saturated.sum()),
            "the axes are exchanged: rows are examples, columns are units.": int(saturated.all(axis=1).sum()),
            "a unit at −1 is as saturated as one at 1: take the absolute value.": int((h > 0.99).all(axis=0).sum()),
        },
        given="three examples of five units",
    )
    expect(answer(h, 0.05), 4, given="the same with limit = 0.05")


@exercise(hint="The width of a sum of n independent numbers grows like √n. n is the number of inputs.")
def first_width(answer):
    expect(
        answer((30, 200)),
        5 / 3 / 30**0.5,
        {
            "the root is missing: variances add, widths grow like √n.": 5 / 3 / 30,
            "the number of INPUTS counts: each output is a sum over them.": 5 / 3 / 200**0.5,
            "the gain for tanh, 5/3, is missing.": 1 / 30**0.5,
            "that is the variance; the width is its root.": 25 / 9 / 30,
            "divide by √inputs, so that the sum does not grow.": 5 / 3 * 30**0.5,
        },
        given="the shape (30, 200)",
    )
    expect(answer((64, 8), 1.0), 0.125, given="the shape (64, 8) and gain 1")


@exercise(hint="x.mean(axis=0) and x.var(axis=0): one number for each feature. ε is added to the variance.")
def batch_norm(answer):
    x = np.random.default_rng(0).normal(2.0, 0.05, size=(6, 3))
    mean, variance = x.mean(axis=0), x.var(axis=0)
    rows = x - x.mean(axis=1, keepdims=True)
    expect(
        answer(x),
        (x - mean) / np.sqrt(variance + 1e-5),
        {
            "the missing mean: subtract it first.": x / np.sqrt(variance + 1e-5),
            "this normalises each example over its features: layer norm. Batch norm goes over the batch, axis 0.": rows
            / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5),
            "this divides by the variance; its root is the standard deviation.": (x - mean) / (variance + 1e-5),
            "the biased variance, please: divide by B, not B − 1.": (x - mean) / np.sqrt(x.var(axis=0, ddof=1) + 1e-5),
            "ε goes under the root.": (x - mean) / (np.sqrt(variance) + 1e-5),
            "ε is missing under the root: a constant feature would divide by 0.": (x - mean) / np.sqrt(variance),
            "one mean and variance for each feature, not one for all numbers.": (x - x.mean())
            / np.sqrt(x.var() + 1e-5),
        },
        given="x of shape (6, 3)",
    )


@exercise(
    hint="Three terms: Σ_b dn_b·δ_ab = dn_a; Σ_b dn_b/B is a mean; Σ_b dn_b·n_b/B, too, and n_a stands before it."
)
def batch_norm_backward(answer):
    rng = np.random.default_rng(1)
    x, dn = rng.normal(size=(2, 5, 3))
    r = 1 / np.sqrt(x.var(axis=0) + 1e-5)
    n = (x - x.mean(axis=0)) * r
    mean, along = dn.mean(axis=0), (dn * n).mean(axis=0)
    expect(
        answer(dn, n, r),
        r * (dn - mean - n * along),
        {
            "this is only the direct way: x acts through the mean and the variance, too.": r * dn,
            "the missing mean: the way through the mean of the batch gives − mean(dn).": r * (dn - n * along),
            "the way through the variance is missing: − n·mean(dn·n).": r * (dn - mean),
            "r is missing: the normalisation divides by the standard deviation.": dn - mean - n * along,
            "sums in place of means: 1/B is missing.": r * (dn - dn.sum(axis=0) - n * (dn * n).sum(axis=0)),
            "the signs: both ways through the statistics are subtracted.": r * (dn + mean + n * along),
            "in the last term, the mean of dn·n stands with n itself: n·mean(dn·n).": r * (dn - mean - along),
        },
        given="dn and n of shape (5, 3)",
    )


@exercise(hint="np.add.at(dtable, ids, dy), or a loop with dtable[ids[i]] += dy[i].")
def embedding_backward(answer):
    dy = np.array([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0], [1000.0, 2000.0]])
    ids = np.array([3, 0, 3, 3])
    right, last, first = np.zeros((3, 6, 2))
    np.add.at(right, ids, dy)
    last[ids] = dy
    first[3], first[0] = dy[0], dy[1]
    mean = right / np.maximum(np.bincount(ids, minlength=6), 1)[:, None]
    expect(
        answer(dy, ids, 6),
        right,
        {
            "forgotten accumulation: of an id that occurs three times only the last gradient was kept.": last,
            "forgotten accumulation: of an id that occurs three times only the first gradient was kept.": first,
            "the gradients of one row add, they are not averaged.": mean,
            "the table has `rows` rows, also such as no id names; its gradient has the same shape.": right[:4],
        },
        given="ids [3, 0, 3, 3] and a table of 6 rows",
    )
