"""The checks of lesson 7. Reading them before you have tried gives the answers away."""

import numpy as np

from checks import Wrong, exercise, expect


def _softmax(scores, axis=-1):
    powers = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


@exercise(hint="Three lines: scores q @ k.T / √H, where H is q.shape[-1]; a softmax along each row; weights @ v.")
def attend(answer):
    rng = np.random.default_rng(0)
    q, k, v = rng.normal(size=(3, 4)), rng.normal(size=(5, 4)), rng.normal(size=(5, 2))
    scores = q @ k.T / 2
    expect(
        answer(q, k, v),
        _softmax(scores) @ v,
        {
            "the scores are not divided by √H.": _softmax(2 * scores) @ v,
            "the scores are divided by H; its root is meant: a sum of H products grows like √H.": _softmax(scores / 2)
            @ v,
            "the √ is that of H, the width of query and key, not of the number of keys.": _softmax(scores * 2 / 5**0.5)
            @ v,
            "the softmax runs along the wrong axis: the weights of one QUERY (a row) sum to 1.": _softmax(scores, 0)
            @ v,
            "the softmax runs over all scores together: each query has weights of its own.": np.exp(scores)
            / np.exp(scores).sum()
            @ v,
            "the exponentials are not divided by their sum, so the weights do not sum to 1.": np.exp(scores) @ v,
            "the softmax is missing: scores are not weights.": scores @ v,
            "scores are divided by their sum; take the softmax, exp first.": scores
            / scores.sum(axis=-1, keepdims=True)
            @ v,
            "these are the weights; the output is their mean of the values: weights @ v.": _softmax(scores),
        },
        given="three queries and five keys of width 4, values of width 2",
    )
    large = 1000 * np.eye(2)
    with np.errstate(all="ignore"):
        expect(
            answer(large, large, np.array([[1.0], [2.0]])),
            np.array([[1.0], [2.0]]),
            {
                "right for small scores, NaN for large ones: take the row's largest score off before exp.": np.full(
                    (2, 1), np.nan
                )
            },
            given="scores of 707,000",
        )


@exercise(hint="np.where(may_read, scores, -np.inf), then the softmax of each row: e^−∞ is 0, and the rest sums to 1.")
def masked_weights(answer):
    scores = np.random.default_rng(1).normal(size=(4, 4))
    may_read = np.tril(np.ones((4, 4), bool))
    right = _softmax(np.where(may_read, scores, -np.inf))
    with np.errstate(all="ignore"):
        found = answer(scores, may_read)
    # The last query could then read nothing: what comes of 0/0 depends on how −∞ was written.
    inverted = _softmax(np.where(may_read, -np.inf, scores)[:-1])
    if np.shape(found) == (4, 4) and np.allclose(np.asarray(found)[:-1], inverted):
        raise Wrong("the mask is inverted: True means that the query MAY read the key.")
    expect(
        found,
        right,
        {
            "masked after the softmax: these rows no longer sum to 1. Mask the scores, before it.": _softmax(scores)
            * may_read,
            "a score of 0 is not blocked: e⁰ is 1. Blocked scores are −∞.": _softmax(scores * may_read),
            "the mask is not used.": _softmax(scores),
            "the softmax runs along the wrong axis: each row (a query) sums to 1.": _softmax(
                np.where(may_read, scores, -np.inf), 0
            ),
            "the mask is added as 0 and 1; blocked scores are −∞.": _softmax(scores + may_read),
            "that would let a token read the ones after it: rows are queries, columns keys.": _softmax(
                np.where(may_read.T, scores, -np.inf)
            ),
            "these are the masked scores; take the softmax of each row.": np.where(may_read, scores, -np.inf),
        },
        given="random scores and the causal mask of four tokens",
    )
    window = np.array([[True, False, True, False]])
    expect(
        answer(scores[:1], window),
        _softmax(np.where(window, scores[:1], -np.inf)),
        {
            "use the mask that is given; here it is not the causal one.": np.eye(1, 4),
        },
        given="one query and a mask that is not causal",
    )


@exercise(hint="How many heads of queries share one head of keys? Divide by that number, rounding down.")
def key_head(answer):
    found = [answer(n, 8, 2) for n in range(8)]
    expect(
        found,
        [0, 0, 0, 0, 1, 1, 1, 1],
        {
            "that is n mod K: neighbours would read different heads. CONSECUTIVE heads share one.": [0, 1] * 4,
            "that is n // K; divide by the number of heads that share one, N // K.": [0, 0, 1, 1, 2, 2, 3, 3],
            "without rounding: a head has a whole number, //.": [n / 4 for n in range(8)],
            "that is the place within the group; which group is it?": [0, 1, 2, 3] * 2,
            "that gives each head of queries keys of its own; there are only n_kv_heads.": list(range(8)),
        },
        given="heads 0 to 7 of 8, with 2 heads of keys",
    )
    expect([answer(n, 9, 3) for n in range(9)], [0, 0, 0, 1, 1, 1, 2, 2, 2], given="heads 0 to 8 of 9, with 3 of keys")
    expect([answer(n, 4, 4) for n in range(4)], [0, 1, 2, 3], given="4 heads of queries and 4 of keys")


@exercise(
    hint="a, b = x[:H//2], x[H//2:]; angles = position·θ^(−2i/H) for i = 0 … H/2−1; then the matrix above, pairwise."
)
def rotate(answer):
    x, position = np.array([1.0, 2.0, -1.0, 0.5, 3.0, -2.0]), 3
    i = np.arange(3)
    angles = position * 10000.0 ** (-2 * i / 6)

    def turned(angles):
        (a, b), cos, sin = np.split(x, 2), np.cos(angles), np.sin(angles)
        return np.concatenate([a * cos - b * sin, a * sin + b * cos])

    cos, sin = np.cos(angles), np.sin(angles)
    neighbours = np.stack([x[::2] * cos - x[1::2] * sin, x[::2] * sin + x[1::2] * cos], axis=1)
    a, b = np.split(x, 2)
    expect(
        answer(x, position),
        turned(angles),
        {
            "neighbours are paired, as in the paper; here dimension i belongs to i + H/2 (both are in use: "
            "a file's weights decide).": neighbours.reshape(-1),
            "the direction is wrong: this turns by −angle. Mind the sign of the sines.": turned(-angles),
            "the frequencies fall too slowly: the exponent is −2i/H, from 0 towards −1.": turned(
                position * 10000.0 ** (-i / 6)
            ),
            "the frequencies grow: the exponent is NEGATIVE.": turned(position * 10000.0 ** (2 * i / 6)),
            "all pairs turn alike: pair i has a frequency of its own, θ^(−2i/H).": turned(np.full(3, 3.0)),
            "the position is not used.": turned(angles / position),
            "positions are counted from 0: no + 1.": turned(angles * 4 / 3),
            "both signs are the same; that is no rotation, lengths change.": np.concatenate(
                [a * cos + b * sin, a * sin + b * cos]
            ),
            "the second line uses the new x′: keep the old pair until both lines are computed.": np.concatenate(
                [a * cos - b * sin, (a * cos - b * sin) * sin + b * cos]
            ),
        },
        given="x of width 6 at position 3",
    )
    expect(
        answer(np.array([1.0, 0.0]), 1, 100.0),
        np.array([np.cos(1), np.sin(1)]),
        given="x = [1, 0] at position 1 with θ = 100",
    )
    expect(
        answer(np.array([1.0, 1.0, 0.0, 0.0]), 2, 100.0),
        np.array([np.cos(2), np.cos(0.2), np.sin(2), np.sin(0.2)]),
        {
            "theta is an argument; do not write 10000.": np.array([np.cos(2), np.cos(0.02), np.sin(2), np.sin(0.02)]),
        },
        given="x = [1, 1, 0, 0] at position 2 with θ = 100",
    )


@exercise(hint="np.sqrt((x * x).mean(axis=-1, keepdims=True) + epsilon). No mean is subtracted.")
def rms_norm(answer):
    rng = np.random.default_rng(2)
    x, gain = rng.normal(0.3, 0.05, size=(4, 4)), rng.normal(1.0, 0.3, size=4)
    square = (x * x).mean(axis=-1, keepdims=True)
    centred = x - x.mean(axis=-1, keepdims=True)
    expect(
        answer(x, gain),
        x / np.sqrt(square + 1e-5) * gain,
        {
            "this subtracts the mean: that is layer norm. RMS norm only divides.": centred
            / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
            * gain,
            "this divides by the standard deviation; the mean SQUARE has no mean taken off.": x
            / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
            * gain,
            "the root is missing.": x / (square + 1e-5) * gain,
            "ε goes under the root.": x / (np.sqrt(square) + 1e-5) * gain,
            "ε is missing under the root: a row of zeros would divide by 0.": x / np.sqrt(square) * gain,
            "the gain is missing.": x / np.sqrt(square + 1e-5),
            "the mean square, not the sum: divide by the width.": x
            / np.sqrt((x * x).sum(axis=-1, keepdims=True) + 1e-5)
            * gain,
            "the axes are exchanged: each token (row) is normed by itself, axis −1.": x
            / np.sqrt((x * x).mean(axis=0) + 1e-5)
            * gain,
            "one mean for all numbers: each token (row) is normed by itself, axis −1.": x
            / np.sqrt((x * x).mean() + 1e-5)
            * gain,
            "the broadcasting trap of lesson 4: keepdims=True, or row t is divided by the root of another row.": x
            / np.sqrt((x * x).mean(axis=-1) + 1e-5)
            * gain,
        },
        given="x of shape (4, 4)",
    )
    expect(answer(np.array([3.0, 4.0]), np.ones(2), 0.5), np.array([3.0, 4.0]) / 13**0.5, given="[3, 4] with ε = 0.5")
