"""The checks of lesson 2. Reading them before you have tried gives the answers away."""

import numpy as np

from checks import exercise, expect
from llm_jax.autodiff import by_hand, softmax


@exercise(
    hint="Probabilities first (softmax over the classes); take 1 off at each row's label; and L is a mean over B."
)
def softmax_cross_entropy_gradient(answer):
    rng = np.random.default_rng(1)
    z, labels = rng.normal(size=(4, 5)), np.array([2, 0, 4, 2])
    p = softmax(z)
    one_hot = np.eye(5)[labels]
    over_batch = softmax(z, axis=0)
    expect(
        answer(z, labels),
        (p - one_hot) / 4,
        {
            "the missing mean: this is the gradient of the sum over the batch; divide by B.": p - one_hot,
            "the label is missing: p is only the second term. Take 1 off at the right class.": p / 4,
            "the label and the mean are missing: take 1 off at the right class, and divide by B.": p,
            "the sign is wrong: pulling the right logit UP lowers the loss, so its derivative is negative.": (
                one_hot - p
            )
            / 4,
            "divide by B, the number of examples, not by the number of all logits.": (p - one_hot) / z.size,
            "divide by B, the number of examples, not by the number of classes.": (p - one_hot) / 5,
            "this softmax runs over the batch (axis 0); it must run over the classes (axis 1).": (over_batch - one_hot)
            / 4,
            "these are the logits themselves minus the label: take the softmax first.": (z - one_hot) / 4,
        },
        given="random logits of shape (4, 5), labels 2, 0, 4, 2",
    )
    large = np.array([[1000.0, 0.0], [0.0, 0.0]])
    with np.errstate(over="ignore", invalid="ignore"):
        found = answer(large, np.array([0, 1]))
    expect(
        found,
        np.array([[0.0, 0.0], [0.25, -0.25]]),
        {"exp(1000) overflows: take the row's largest logit off first.": np.array([[np.nan, 0.0], [0.25, -0.25]])},
        given="a logit of 1000 (take the row's largest logit off before exp)",
    )


@exercise(hint="You are given y, not x, and 1 − tanh(x)² is 1 − y². Then: local derivative times what came from above.")
def tanh_gradient(answer):
    rng = np.random.default_rng(2)
    x, dy = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    y = np.tanh(x)
    expect(
        answer(dy, y),
        dy * (1 - y * y),
        {
            "y is the output already: no second tanh.": dy * (1 - np.tanh(y) ** 2),
            "this is the local derivative; multiply it by dy, what came from above.": 1 - y * y,
            "the square is missing: 1 − y².": dy * (1 - y),
            "this goes forward: dy is not x.": np.tanh(dy),
            "contributions add where PATHS meet; along one path, local derivative and dy multiply.": dy + (1 - y * y),
        },
        given="random dy and y of shape (3, 4)",
    )


@exercise(hint="Three paths, three terms. np.mean(…, axis=0) is over the batch.")
def normalise_gradient(answer):
    rng = np.random.default_rng(3)
    x, dn = 2 * rng.normal(size=(6, 6)) + 1, rng.normal(size=(6, 6))
    _, n, r = by_hand.batch_norm(x, np.ones(6), np.zeros(6))
    along = (dn * n).mean(axis=0)
    expect(
        answer(dn, n, r),
        r * (dn - dn.mean(axis=0) - n * along),
        {
            "only the direct path: x acts through the mean and the variance, too.": r * dn,
            "the missing mean: one path leads through m, and takes mean(dn) off.": r * (dn - n * along),
            "the path through the variance is missing: − n·mean(dn·n).": r * (dn - dn.mean(axis=0)),
            "the means are over the batch (axis 0), not over the features.": r
            * (dn - dn.mean(axis=1, keepdims=True) - n * (dn * n).mean(axis=1, keepdims=True)),
            "sums where means belong: each divides by B.": r * (dn - dn.sum(axis=0) - n * (dn * n).sum(axis=0)),
            "the means are over the batch alone (axis=0), one for each feature.": r
            * (dn - dn.mean() - n * (dn * n).mean()),
            "the factor r, the local derivative of the scaling, is missing.": dn - dn.mean(axis=0) - n * along,
            "multiply by r, do not divide: n = (x − m)·r.": (dn - dn.mean(axis=0) - n * along) / r,
        },
        given="random dn, n of shape (6, 6)",
    )


@exercise(
    hint="ds_j = Σ_l da_l·a_l·(δ_lj − a_j). Pull the sum apart: one term for δ, and one that is the same for all j."
)
def softmax_gradient(answer):
    rng = np.random.default_rng(4)
    a, da = softmax(rng.normal(size=(2, 3, 3))), rng.normal(size=(2, 3, 3))
    inner = (a * da).sum(axis=-1, keepdims=True)
    expect(
        answer(da, a),
        a * (da - inner),
        {
            "this treats softmax as if each weight depended on its own score only (the diagonal of the Jacobian).": a
            * (1 - a)
            * da,
            "the sum over the row is missing: every weight of a row depends on every score of it.": a * da,
            "the sum must run over the keys, the last axis.": a * (da - (a * da).sum(axis=-2, keepdims=True)),
            "the weights of a row differ, so it is their weighted sum Σ a·da that goes off, not the mean of da.": a
            * (da - da.mean(axis=-1, keepdims=True)),
            "a weighted sum, not a mean: Σ a·da over the last axis.": a * (da - (a * da).mean(axis=-1, keepdims=True)),
            "the factor a in front is missing: ds = a·(da − Σ a·da).": da - inner,
        },
        given="random da and a of shape (2, 3, 3)",
    )
