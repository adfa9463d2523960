"""The checks of lesson 20: a learner's test is tried on right and on wrong things. Reading them gives answers away."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from checks import Wrong, exercise, expect

T, D = 6, 8


def _judge(test: Callable, cases: Sequence[tuple[Any, bool, str]]) -> None:
    """Every case is (what is examined, the verdict it deserves, what to tell whoever gives the other one)."""
    found = [bool(test(*thing) if isinstance(thing, tuple) else test(thing)) for thing, _, _ in cases]
    if len(set(found)) == 1 and len({right for _, right, _ in cases}) == 2:
        raise Wrong(f"it says {found[0]} whatever it is given; the first it got wrong: {_first(found, cases)}")
    for verdict, (_, right, message) in zip(found, cases, strict=True):
        if verdict != right:
            raise Wrong(f"it returned {verdict}: {message}")


def _first(found: list[bool], cases: Sequence[tuple[Any, bool, str]]) -> str:
    return next(message for verdict, (_, right, message) in zip(found, cases, strict=True) if verdict != right)


def _softmax(x: np.ndarray) -> np.ndarray:
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def _attention(may_see: Callable[[int], np.ndarray], seed: int = 0) -> Callable[[np.ndarray], np.ndarray]:
    matrices = np.random.default_rng(seed).normal(size=(3, D, D)) / np.sqrt(D)

    def model(x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, float)
        width = x.shape[1]
        q, k, v = (x @ m[:width, :width] for m in matrices)
        scores = np.where(may_see(len(x)), q @ k.T / np.sqrt(width), -1e30)
        return _softmax(scores) @ v

    return model


def _lower(n: int) -> np.ndarray:
    return np.tril(np.ones((n, n), bool))


def _last_sees_nothing(n: int) -> np.ndarray:
    return ~_lower(n)


def _all_but_far(n: int) -> np.ndarray:
    """Causal but for a single leak: the first token sees the last."""
    seen = _lower(n)
    seen[0, n - 1] = True
    return seen


@exercise(hint="Two inputs that differ from position t on: up to t − 1 their outputs must be equal. For every t.")
def is_causal(answer):
    centred = _attention(_lower)
    cases = [
        (_attention(_lower), True, "the model was causal: the outputs BEFORE the change were equal, as they must be."),
        (_attention(_last_sees_nothing), False, "the model sees nothing but the future: the notebook's mask."),
        (_attention(lambda n: np.ones((n, n), bool)), False, "the model sees everything: it has no mask."),
        (lambda x: np.asarray(x) * 2.0, True, "a model without attention is causal: nothing depends on anything else."),
        (_attention(_all_but_far), False, "its first token sees the last one, and nothing else leaks: try every t."),
        (
            lambda x: centred(np.asarray(x) - np.mean(x, axis=0)),
            False,
            "its mask is right, but it subtracts the mean over all POSITIONS first: that leaks, too.",
        ),
        (
            lambda x: np.cumsum(np.asarray(x) ** 2, axis=0),
            True,
            "a running sum is causal (did you compare with == after a change of sign?).",
        ),
    ]
    _judge(answer, cases)


@exercise(hint="Two properties: no weight is negative, and each row adds up to 1, but for rounding.")
def are_weights(answer):
    scores = np.random.default_rng(1).normal(size=(4, 4))
    right = _softmax(scores)
    masked = _softmax(np.where(np.tril(np.ones((4, 4), bool)), scores, -np.inf))
    cases = [
        (right, True, "they were a softmax over the keys."),
        (0.75 * right, False, "the rows sum to 0.75, as in the notebook."),
        (masked, True, "weights of masked keys are 0, which is allowed."),
        (_softmax(scores.T).T, False, "the columns sum to 1, not the rows: the softmax went over the queries."),
        (right + np.array([[0.5, -0.5, 0, 0]]) * 2, False, "the rows sum to 1, but some weights are negative."),
        (right.astype(np.float32), True, "in float32 the sums are 1 but for rounding: allow about 1e-5."),
        (_softmax(np.zeros((2, 7))), True, "there may be more keys than queries."),
        (np.full((3, 3), np.nan), False, "nan is no weight: what comparison is true of nan?"),
        (np.full((2, 4), 0.26), False, "the rows sum to 1.04: a tolerance of 5 per cent hides it."),
    ]
    _judge(answer, cases)


WORDS = {"hug": 10, "pug": 5, "pun": 12, "bun": 4, "hugs": 5}


@exercise(
    hint="Split the words, and for each merge: count all pairs, times the word's count; compare; join left to right."
)
def are_merges(answer):
    learnt = [("u", "g"), ("u", "n"), ("h", "ug")]
    cases = [
        (
            (dict(WORDS), list(learnt)),
            True,
            "they were the most frequent pairs (Hugging Face's course: hug, pug, pun …).",
        ),
        ((dict(WORDS), [("u", "n"), ("u", "g")]), False, "(u, n) occurs 16 times, (u, g) 20 times."),
        ((dict(WORDS), [*learnt, ("hug", "s")]), False, "(hug, s) occurs 5 times, (p, un) 12 times."),
        ((dict(WORDS), [*learnt, ("p", "un")]), True, "(p, un) occurs 12 times: the most frequent after three merges."),
        ((dict(WORDS), [("h", "ug")]), False, "(h, ug) cannot be merged before ug exists."),
        (({"ab": 3, "cd": 3}, [("c", "d")]), True, "in a tie each of the best is right."),
        (
            ({"ab": 3, "cd": 3}, [("a", "b"), ("c", "d")]),
            True,
            "in a tie each of the best is right, one after the other.",
        ),
        (({"ab": 1, "cd": 5}, [("a", "b")]), False, "a word that occurs 5 times counts 5 times."),
        (({"aaab": 2}, [("a", "a"), ("aa", "a")]), True, "aaab → aa a b: from left to right."),
        (({"aaab": 2}, [("a", "a"), ("a", "aa")]), False, "aaab → aa a b, not a aa b: from left to right."),
        (({"a": 9}, [("a", "a")]), False, "a pair that never occurs is never merged."),
        ((dict(WORDS), []), True, "no merge, no mistake."),
    ]
    _judge(answer, cases)


def _norm(x: np.ndarray, centres: bool) -> np.ndarray:
    x = x - x.mean(axis=-1, keepdims=True) if centres else x
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5)


def _block(kind: str, centres: bool, seed: int = 0) -> Callable[[np.ndarray], np.ndarray]:
    up, down = np.random.default_rng(seed).normal(size=(2, D, D)) / np.sqrt(D)

    def f(x: np.ndarray) -> np.ndarray:
        return np.tanh(x @ up[: x.shape[1], : x.shape[1]]) @ down[: x.shape[1], : x.shape[1]]

    def linear(x: np.ndarray) -> np.ndarray:
        return x @ up[: x.shape[1], : x.shape[1]]

    forms = {
        "pre": lambda x: x + f(_norm(x, centres)),
        "pre, linear": lambda x: x + linear(_norm(x, centres)),
        "post": lambda x: _norm(x + f(x), centres),
        "post, linear": lambda x: _norm(x + linear(x), centres),
        "none": lambda x: x + linear(x),
        "norm only": lambda x: f(_norm(x, centres)),
    }
    return lambda x: forms[kind](np.asarray(x, float))


@exercise(hint="block(c·x) − c·x is f of a normed input: does it change when c goes from 100 to 10,000?")
def is_pre_norm(answer):
    cases = [
        (_block("pre", True), True, "it was x + f(norm(x)) with layer norm: GPT-2's block."),
        (_block("post", True), False, "it was norm(x + f(x)): the Transformer of 2017, and the notebook."),
        (_block("pre", False), True, "it was x + f(norm(x)) with RMS norm: Llama's block."),
        (_block("post", False), False, "it was norm(x + f(x)) with RMS norm."),
        (_block("pre, linear", True, 3), True, "it was x + f(norm(x)); f was linear."),
        (_block("post, linear", True), False, "it was norm(x + f(x)); f was linear."),
        (_block("none", True), False, "it had no norm: what f adds grew with x."),
        (_block("norm only", True), False, "the stream did not pass by: f(norm(x)) without x +."),
    ]
    _judge(answer, cases)


@exercise(hint="Compare with math.log(vocab_size), from above and from below.")
def starts_right(answer):
    cases = [
        ((10.82, 50_257), True, "ln 50,257 is 10.82."),
        ((104.0, 50_257), False, "104 is the notebook's: the logits are far too large."),
        ((4.2, 65), True, "ln 65 is 4.17: the vocabulary counts."),
        ((10.82, 65), False, "with 65 tokens 10.82 is far too high."),
        ((2.0, 50_257), False, "too low is wrong as well: the answer leaks into the input."),
        ((11.0, 50_257), True, "11.0 is within 10 per cent of 10.82."),
        ((12.5, 50_257), False, "12.5 is 15 per cent above 10.82."),
        ((math.log2(50_257), 50_257), False, "15.6 are bits; the loss is in nats."),
        ((math.nan, 50_257), False, "nan is no start: what comparison is true of nan?"),
    ]
    _judge(answer, cases)


@exercise(hint="Tokens of an epoch − 1, divided by rows · length, rounded down; then epochs.")
def steps_of_run(answer):
    text = "four letters here and more " * 40

    def encode(string: str) -> list[int]:
        return list(range(math.ceil(len(string) / 4)))

    tokens, rows, length, epochs = len(encode(text)), 4, 9, 3
    each = (tokens - 1) // (rows * length)
    expect(
        answer(text, encode, rows, length, epochs),
        epochs * each,
        {
            "that counts characters, as the notebook does: encode the text first.": epochs
            * ((len(text) - 1) // (rows * length)),
            "that counts characters, as the notebook does.": epochs * (len(text) // (rows * length)),
            "the epochs are missing.": each,
            "a step takes rows · length tokens, not length.": epochs * ((tokens - 1) // length),
            "a step takes rows · length tokens, not rows.": epochs * ((tokens - 1) // rows),
            "whole steps only.": epochs * (tokens - 1) / (rows * length),
        },
        given=f"{len(text)} characters, {tokens} tokens",
    )
    exactly = "x" * 4 * rows * length  # as many tokens as one step has inputs: its last target is missing
    expect(
        answer(exactly, encode, rows, length, 1),
        0,
        {"the last window needs one token more, for its target.": 1},
        given=f"{rows * length} tokens, as many as a step has inputs",
    )
