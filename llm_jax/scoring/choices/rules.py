"""Scoring rules: what a model's log-probabilities say about an item. Two rules can rank the same models differently.

Rules that choose an answer (the first of equals), and score 1 where it is right:

    sum         log p(answer | context)                           lm-evaluation-harness: acc
    token       the same / tokens                                 build-nanogpt, llm.c
    character   the same / characters                             lm-evaluation-harness: acc_norm
    byte        the same / bytes                                  lm-evaluation-harness: acc_bytes
    pmi         log p(answer | context) − log p(answer | neutral prompt)       Holtzman et al. 2021, GPT-3
    letter      log p(A), log p(B), … after a question that lists its answers  MMLU (Hendrycks et al. 2021)

Rules that give a number:

    p(gold)            softmax over the answers' sums, at the right one        Schaeffer et al. 2024
    bits per byte      −log p(right answer | context) / (bytes · ln 2); lower is better
    chance-corrected   (a − 1/k) / (1 − 1/k), a of the first rule above that the file has and not sum: 0 is guessing
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from llm_jax.scoring.choices.values import Choices

CHOOSING = ("sum", "token", "character", "byte", "pmi", "letter")
RULES = (*CHOOSING, "p(gold)", "bits per byte", "chance-corrected")
LOWER_IS_BETTER = {"bits per byte"}
PREFERRED = ("character", "token", "byte", "letter", "pmi", "sum")  # the rule of a board, and of chance-corrected


class Lacking(NamedTuple):
    """What a file lacks, so that a rule cannot be computed."""

    missing: str


def scores(choices: Choices, rule: str) -> np.ndarray | Lacking:
    """(N, answers): what a rule that chooses compares; −∞ where an item has no such answer."""
    found = _scores(choices, rule)
    return found if isinstance(found, Lacking) else np.where(np.isnan(found), -np.inf, found)


def _scores(choices: Choices, rule: str) -> np.ndarray | Lacking:
    has = choices.columns
    if choices.is_letters != (rule == "letter"):
        return Lacking("answers as text" if choices.is_letters else "answers as letters")
    mean = f"{rule} mean"
    if mean in has:
        return has[mean]
    needs = {"token": ("tokens",), "character": ("characters",), "byte": ("bytes",), "pmi": ("unconditional",)}
    if missing := [name for name in ("sum", *needs.get(rule, ())) if name not in has]:
        return Lacking(", ".join(missing))
    if rule == "pmi":
        return has["sum"] - has["unconditional"]
    return has["sum"] / has[needs[rule][0]] if rule in needs else has["sum"]


def values(choices: Choices, rule: str) -> np.ndarray | Lacking:
    """(N,): what an item counts under the rule, whose mean is the figure."""
    if rule in CHOOSING:
        found = scores(choices, rule)
        return found if isinstance(found, Lacking) else (found.argmax(1) == choices.gold).astype(float)
    compute: Callable[[Choices], np.ndarray | Lacking] = {
        "p(gold)": _probability_of_gold,
        "bits per byte": _bits_per_byte,
        "chance-corrected": _chance_corrected,
    }[rule]
    return compute(choices)


def _probability_of_gold(choices: Choices) -> np.ndarray | Lacking:
    found = scores(choices, "letter" if choices.is_letters else "sum")
    return found if isinstance(found, Lacking) else at_gold(softmax(found), choices)


def _bits_per_byte(choices: Choices) -> np.ndarray | Lacking:
    found = scores(choices, "byte")
    return found if isinstance(found, Lacking) else -at_gold(found, choices) / math.log(2)


def _chance_corrected(choices: Choices) -> np.ndarray | Lacking:
    right = next((found for rule in PREFERRED if not isinstance(found := values(choices, rule), Lacking)), None)
    if right is None:
        return Lacking("log-probabilities")
    return (right - 1 / choices.n_answers) / (1 - 1 / choices.n_answers)


def softmax(scores_NK: np.ndarray) -> np.ndarray:
    powers = np.exp(scores_NK - scores_NK.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def at_gold(table_NK: np.ndarray, choices: Choices) -> np.ndarray:
    return table_NK[np.arange(len(table_NK)), choices.gold]
