"""The answer that a model prefers among several, under the four conventions in use.

A longer answer has a lower log-likelihood, whatever it says. The conventions normalise for length in different ways,
and the accuracy differs by up to 15 points for the same model and log-likelihoods. So always name the convention:

    sum          log p(answer | context)                            lm-evaluation-harness: acc
    token mean   the same / tokens of the answer                    build-nanogpt, llm.c: "acc_norm"
    character    the same / characters of the answer, no space      lm-evaluation-harness: acc_norm (Gao 2021)
    byte         the same / UTF-8 bytes of the answer, no space     lm-evaluation-harness: acc_bytes

Source: lm-evaluation-harness 0.4.13, `ConfigurableTask.process_results`. Only `token mean` depends on the tokenizer.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np

Convention = Literal["sum", "token mean", "character", "byte"]
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)


class Estimate(NamedTuple):
    """A mean over items and its standard error."""

    value: float
    stderr: float  # sample standard deviation / √n; NaN for a single item


def normalise(log_likelihood: float, n_tokens: int, text: str, convention: Convention) -> float:
    """The score of an answer: its log-likelihood in nats, divided by its length under the convention.

    >>> normalise(-6.0, 2, "café", "character"), normalise(-6.0, 2, "café", "byte")
    (-1.5, -1.2)
    """
    lengths = {
        "sum": 1,
        "token mean": n_tokens,
        "character": len(text),
        "byte": len(text.encode("utf-8")),
    }
    return log_likelihood / lengths[convention]


def accuracy(scores: Sequence[Sequence[float]], gold: Sequence[int]) -> Estimate:
    """The share of items whose best score (the first of equal ones) is the right answer's."""
    right = np.array([int(np.argmax(row)) == answer for row, answer in zip(scores, gold, strict=True)], float)
    stderr = float(right.std(ddof=1)) / math.sqrt(len(right)) if len(right) > 1 else math.nan
    return Estimate(float(right.mean()), stderr)
