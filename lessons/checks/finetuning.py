"""The checks of lesson 13. Reading them before you have tried gives the answers away."""

import numpy as np

from checks import Wrong, exercise, expect

HEADER = {"system": [1, 3, 0], "user": [1, 4, 0], "assistant": [1, 5, 6, 0]}
END, NEWLINE = 2, 0


def _chat(messages, trains_header=False, trains_end=True, trains_newline=False, roles=("assistant",), last_only=False):
    ids, trained = [], []
    last = max((i for i, (role, _) in enumerate(messages) if role == "assistant"), default=-1)
    for i, (role, words) in enumerate(messages):
        counts = role in roles and (not last_only or i == last)
        parts = (
            (HEADER[role], trains_header and counts),
            (words, counts),
            ([END], counts and trains_end),
            ([NEWLINE], counts and trains_newline),
        )
        for part, is_trained in parts:
            ids += part
            trained += [is_trained] * len(part)
    return ids, trained


@exercise(
    hint="For each message four parts in a row: header, words, end, newline. Which of them does an assistant write?"
)
def chat_with_mask(answer):
    chat = [("user", [10, 11]), ("assistant", [20, 2, 21]), ("user", [12]), ("assistant", [22, 23])]
    right = _chat(chat)
    found = answer([(role, list(words)) for role, words in chat], HEADER, END, NEWLINE)
    if isinstance(found, tuple) and len(found) == 2 and list(found[0]) != right[0]:
        raise Wrong(f"the ids are not those of the chat: {list(found[0])}; expected {right[0]}")
    ids, trained = found
    shifted = [*right[1][1:], False]
    mistakes = {
        "the end of the answer is trained, too: otherwise the model never stops.": _chat(chat, trains_end=False),
        "the header is given to the model, it does not write it.": _chat(chat, trains_header=True),
        "behind <|im_end|> nothing is written by the model: the newline is not trained.": _chat(
            chat, trains_newline=True
        ),
        "the user's words are not the model's.": _chat(chat, roles=("user", "assistant")),
        "those are the user's words: train the assistant's.": _chat(chat, roles=("user",)),
        "every answer of the chat is trained, not only the last.": _chat(chat, last_only=True),
        "trained[i] speaks of ids[i] itself; the shift by one comes later.": (right[0], shifted),
        "it is the other way round: True where an id IS trained.": (right[0], [not t for t in right[1]]),
    }
    expect((list(ids), [bool(t) for t in trained]), right, mistakes, given="two questions and two answers")
    system = [("system", [7]), ("user", [8]), ("assistant", [9])]
    expect(
        tuple(map(list, answer(system, HEADER, END, NEWLINE))),
        _chat(system),
        given="a chat with a system's message",
    )


@exercise(hint="Two sums over everything: weight · loss, and weight. One division, at the very end.")
def batch_loss(answer):
    pieces = [
        (np.array([4.0, 2.0]), np.array([1.0, 0.0])),
        (np.array([1.0, 1.0, 3.0, 5.0]), np.array([1.0, 1.0, 0.0, 1.0])),
    ]
    losses, weights = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    right = float((losses * weights).sum() / weights.sum())
    means = [float((loss * weight).sum() / weight.sum()) for loss, weight in pieces]
    expect(
        answer([tuple(np.array(part) for part in piece) for piece in pieces]),
        right,
        {
            "that is the mean of the micro-batches' means: a short one's token then counts more.": float(
                np.mean(means)
            ),
            "divide by the weights, not by all tokens: those that are not trained do not count.": float(
                (losses * weights).mean()
            ),
            "tokens that are not trained do not count: their weight is 0.": float(losses.mean()),
            "that is the sum; divide it by the sum of all weights.": float((losses * weights).sum()),
            "that is the last micro-batch alone.": means[-1],
        },
        given="two micro-batches with 1 and 3 trained tokens",
    )


@exercise(hint="W' = W + s·A·B. A change dA changes W' by s·dA·B, and the loss by the sum of G · (s·dA·B).")
def lora_gradients(answer):
    rng = np.random.default_rng(0)
    G, A, B = rng.normal(size=(5, 3)), rng.normal(size=(5, 2)), rng.normal(size=(2, 3))
    s = 2.5
    right = s * G @ B.T, s * A.T @ G
    expect(
        answer(G, A, B, s),
        right,
        {
            "the scale s belongs to both.": (right[0] / s, right[1] / s),
            "the scale s belongs to A's gradient, too.": (right[0] / s, right[1]),
            "the scale s belongs to B's gradient, too.": (right[0], right[1] / s),
            "the two are exchanged.": (right[1], right[0]),
            "s stands once in W + s·A·B, and once in each gradient.": (s * right[0], s * right[1]),
        },
        given="G (5, 3), A (5, 2), B (2, 3)",
    )


@exercise(hint="A has inputs · rank numbers. And B?")
def trainable_numbers(answer):
    expect(
        answer(768, 3072, 16),
        16 * (768 + 3072),
        {
            "that is the weight itself, which is frozen.": 768 * 3072,
            "that is A alone; B is trained, too.": 16 * 768,
            "that is B alone; A is trained, too.": 16 * 3072,
            "A and B are beside each other: their sizes are added.": 16 * 768 * 16 * 3072,
            "the weight is frozen: it does not count.": 768 * 3072 + 16 * (768 + 3072),
        },
        given="a map of 768 to 3,072, rank 16",
    )
    expect(answer(5, 7, 1), 12, given="a map of 5 to 7, rank 1")


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


@exercise(hint="Rewards first: beta · (policy − reference), for each answer. The loss is −log σ(their difference).")
def dpo(answer):
    c, r, rc, rr, beta = -12.0, -15.0, -13.0, -14.5, 0.1
    rewards = beta * (c - rc), beta * (r - rr)
    right = (-np.log(_sigmoid(rewards[0] - rewards[1])), *rewards)

    def with_loss(x):
        return -np.log(_sigmoid(x)), *rewards

    expect(
        answer(c, r, rc, rr, beta),
        right,
        {
            "the reference is missing: only what has changed since the start counts.": with_loss(beta * (c - r)),
            "chosen and rejected are exchanged in the loss.": with_loss(rewards[1] - rewards[0]),
            "beta belongs into the rewards and into the loss.": (
                -np.log(_sigmoid((c - rc) - (r - rr))),
                c - rc,
                r - rr,
            ),
            "beta belongs into the rewards, too.": (right[0], c - rc, r - rr),
            "beta belongs into the loss, too.": with_loss((c - rc) - (r - rr)),
            "the logarithm is missing, or its sign.": (_sigmoid(rewards[0] - rewards[1]), *rewards),
            "minus log σ: a loss falls when the margin grows.": (-right[0], *rewards),
            "beta is inside of σ once, not twice.": with_loss(beta * (rewards[0] - rewards[1])),
        },
        given="log-probabilities −12 and −15, reference −13 and −14.5, beta 0.1",
    )
    expect(answer(-9.0, -9.5, -9.0, -9.5, 0.5), (np.log(2), 0.0, 0.0), given="the policy at step 0")
    loss, *_ = answer(-5000.0, -10.0, -10.0, -10.0, 1.0)
    if not np.isfinite(loss):
        raise Wrong("with a margin of −4,990 the loss is 4,990, not inf: use np.logaddexp(0, −margin).")
