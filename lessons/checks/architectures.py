"""The checks of lesson 12. Reading them before you have tried gives the answers away."""

import numpy as np

from checks import exercise, expect


def _softmax(scores, axis=-1):
    powers = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


@exercise(hint="np.where twice: what a chosen token becomes, by kind; then that where chosen, else the token itself.")
def masked(answer):
    tokens, chosen = np.arange(20, 30), np.array([0.1, 0.2, 0.1, 0.1, 0.9, 0.14, 0.05, 0.1, 0.16, 0.0])
    kind, drawn = np.array([0.5, 0.5, 0.85, 0.95, 0.1, 0.79, 0.81, 0.91, 0.85, 0.99]), np.arange(70, 80)
    is_chosen = chosen < 0.15

    def seen(chosen_too=is_chosen, first=0.8, second=0.9, kept=tokens):
        becomes = np.where(kind < first, 3, np.where(kind < second, drawn, kept))
        return np.where(chosen_too, becomes, tokens)

    weights = is_chosen.astype(float)
    expect(
        answer(tokens, chosen, kind, drawn, 3),
        (seen(), weights),
        {
            "the loss is on every chosen token, on those that are left as they are too: without it the model would "
            "learn that a visible token is always right.": (seen(), weights * (seen() != tokens)),
            "the loss is on every chosen token, not on [MASK] alone.": (seen(), weights * (kind < 0.8)),
            "the loss is on the chosen tokens alone: the others are seen, and could be copied.": (
                seen(),
                np.ones(10),
            ),
            "10 % become random: kind from 0.8 to 0.9, not below 0.1.": (
                np.where(is_chosen, np.where(kind < 0.1, drawn, np.where(kind < 0.9, 3, tokens)), tokens),
                weights,
            ),
            "every chosen token became [MASK]; then the model has no use for the tokens it sees.": (
                seen(first=2.0),
                weights,
            ),
            "random and kept are exchanged: below 0.9 is random, above it the token stays.": (
                np.where(is_chosen, np.where(kind < 0.8, 3, np.where(kind < 0.9, tokens, drawn)), tokens),
                weights,
            ),
            "tokens that were not chosen stay as they are.": (seen(chosen_too=True), weights),
            "chosen are those BELOW 0.15.": (seen(chosen_too=~is_chosen), 1 - weights),
        },
        given="ten tokens",
    )


@exercise(hint="scores = q @ k.T / √H, of shape (T, S); −∞ in the columns of the padding; softmax of each row; @ v.")
def cross_attention(answer):
    rng = np.random.default_rng(0)
    q, k, v = rng.normal(size=(3, 4)), rng.normal(size=(5, 4)), rng.normal(size=(5, 2))
    is_source = np.array([True, True, True, False, False])
    scores = q @ k.T / 2
    hidden = np.where(is_source, scores, -np.inf)
    weights = _softmax(scores) * is_source
    causal = np.tril(np.ones((3, 5), bool)) & is_source
    expect(
        answer(q, k, v, is_source),
        _softmax(hidden) @ v,
        {
            "the source's padding is attended too.": _softmax(scores) @ v,
            "the scores are not divided by √H.": _softmax(2 * hidden) @ v,
            "the mask came after the softmax, so the weights of a row no longer sum to 1.": weights @ v,
            "padding got the score 0 and not −∞: e⁰ is 1.": _softmax(np.where(is_source, scores, 0.0)) @ v,
            "the mask is the wrong way round: True are the tokens.": _softmax(np.where(is_source, -np.inf, scores)) @ v,
            "there is no causal mask here: every target token reads the whole source.": _softmax(
                np.where(causal, scores, -np.inf)
            )
            @ v,
            "the softmax runs along the wrong axis: the weights of one QUERY sum to 1.": np.nan_to_num(
                np.where(is_source, _softmax(scores, 0), 0.0)
            )
            @ v,
            "these are the weights; multiply them by the values.": _softmax(hidden),
        },
        given="three queries and five keys, two of them padding",
    )


@exercise(hint="i = np.arange(width // 2); angles = position / 10000 ** (2 * i / width); sines, then cosines.")
def sinusoid(answer):
    position, width = 3, 8
    i = np.arange(width // 2)
    angles = position / 10000 ** (2 * i / width)
    sin, cos = np.sin(angles), np.cos(angles)
    slow = position / 10000 ** (i / width)
    expect(
        answer(position, width),
        np.concatenate([sin, cos]),
        {
            "sine and cosine in turns, as the paper writes it: here all sines come first.": np.stack(
                [sin, cos], 1
            ).ravel(),
            "the cosines came first.": np.concatenate([cos, sin]),
            "the exponent is 2i/D.": np.concatenate([np.sin(slow), np.cos(slow)]),
            "i stops at D/2: the second half has the same frequencies.": np.concatenate(
                [sin, np.cos(position / 10000 ** (2 * np.arange(width // 2, width) / width))]
            ),
            "the position is divided by 10000^(2i/D), not multiplied.": np.concatenate(
                [np.sin(position * 10000 ** (2 * i / width)), np.cos(position * 10000 ** (2 * i / width))]
            ),
            "these are the angles.": np.concatenate([angles, angles]),
        },
        given="position 3 and width 8",
    )


@exercise(hint="−(1 − ε)·log_p[target], and −ε times the MEAN of all log_p.")
def smoothed_loss(answer):
    log_p, epsilon = np.log(np.array([0.1, 0.2, 0.3, 0.25, 0.15])), 0.1
    right, total = log_p[2], log_p.sum()
    expect(
        answer(log_p, 2, epsilon),
        -(1 - epsilon) * right - epsilon * total / 5,
        {
            "nothing is smoothed: that is −log p of the target.": -right,
            "the part ε/V of every token is missing.": -(1 - epsilon) * right,
            "every token has ε/V, not ε: the labels must sum to 1.": -(1 - epsilon) * right - epsilon * total,
            "ε is shared by all V tokens, the target too: divide by V, not by V − 1.": -(1 - epsilon) * right
            - epsilon * (total - right) / 4,
            "the target has its own ε/V too: 1 − ε + ε/V.": -(1 - epsilon) * right - epsilon * (total - right) / 5,
            "the sign: a loss is −log p.": (1 - epsilon) * right + epsilon * total / 5,
            "1 − ε belongs to the target, ε to all.": -epsilon * right - (1 - epsilon) * total / 5,
        },
        given="five tokens and ε = 0.1",
    )


@exercise(hint="Scores log_p / ((5 + n) / 6) ** alpha; the best is the LARGEST, the one nearest to 0.")
def best_hypothesis(answer):
    log_p, lengths = [-4.0, -5.0, -9.0], [2, 8, 30]

    def by(function, alpha):
        return int(np.argmax([function(p, n, alpha) for p, n in zip(log_p, lengths, strict=True)]))

    def right(p, n, alpha):
        return p / ((5 + n) / 6) ** alpha

    messages = {
        "that is the largest sum of logarithms: divide by lp(n) first.": by(lambda p, n, a: p, 1.0),
        "the scores are negative: the best one is the largest, not the smallest.": int(
            np.argmin([right(p, n, 1.0) for p, n in zip(log_p, lengths, strict=True)])
        ),
    }
    expect(answer(log_p, lengths, 1.0), by(right, 1.0), messages, given="α = 1")
    expect(answer(log_p, lengths, 0.0), 0, {"with α = 0 nothing is divided.": 2}, given="α = 0")
    close = [-5.0, -5.6], [5, 6]
    expect(
        answer(*close, 1.0),
        int(np.argmax([right(p, n, 1.0) for p, n in zip(*close, strict=True)])),
        {"divide by ((5 + n)/6)^α, not by n^α.": int(np.argmax([p / n for p, n in zip(*close, strict=True)]))},
        given="hypotheses of 5 and 6 tokens",
    )


@exercise(
    hint="A loop over the turns: what is read in turn i, plus the answer; a decoder adds question + answer alone."
)
def tokens_computed(answer):
    turns, question, reply = 4, 10, 30
    every = range(1, turns + 1)
    read = sum(i * question + (i - 1) * reply for i in every)
    expect(
        answer(turns, question, reply, True),
        turns * (question + reply),
        {
            "a decoder with a cache reads the earlier turns no second time.": sum(
                i * (question + reply) for i in every
            ),
            "the answers are tokens too.": turns * question,
        },
        given="a decoder, four turns of 10 + 30 tokens",
    )
    expect(
        answer(turns, question, reply, False),
        read + turns * reply,
        {
            "the answers are written too: add them.": read,
            "turn i has i − 1 answers before it, not i.": sum(i * (question + reply) for i in every) + turns * reply,
            "only the new question was read: the encoder needs the whole conversation.": turns * (question + reply),
            "the earlier answers belong to what is read.": sum(i * question for i in every) + turns * reply,
        },
        given="an encoder–decoder, four turns of 10 + 30 tokens",
    )
