"""Compares two programs' answers: their differences, and whether these are within the bound.

Log-probabilities are compared up to the first different token of a row, because after it the two programs continue
different texts. A different token is excused, and counted, if one of the programs was undecided: the log-probabilities
of its two best tokens differ by less than the bound.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llm_jax.scoring.conventions import accuracy, normalise
from llm_jax.scoring.hellaswag import Item
from serve.agreement.answers import Answers, Continuations

BOUND = 1e-3  # nats; float32 sums in another order differ by less


@dataclass(frozen=True)
class Pair:
    """The comparison of two programs' greedy continuations."""

    a: str
    b: str
    n_tokens: int  # requested, of all prompts together
    n_equal: int  # equal tokens before each row's first different one
    n_rows: int
    n_rows_equal: int
    n_excused: int  # rows whose first different token has a margin below the bound
    largest: float  # difference of log-probabilities, nats; NaN if nothing could be compared
    median: float
    bound: float

    @property
    def n_unexcused(self) -> int:
        """Rows with a different token at which neither program was undecided."""
        return self.n_rows - self.n_rows_equal - self.n_excused

    @property
    def agrees(self) -> bool:
        return self.n_unexcused == 0 and self.largest <= self.bound


@dataclass(frozen=True)
class TaskPair:
    """The comparison of two programs' log-likelihoods and accuracies on a multiple-choice task."""

    a: str
    b: str
    accuracy_a: float
    accuracy_b: float
    n_items: int
    largest: float
    median: float
    bound: float

    @property
    def items_apart(self) -> int:
        """The difference of the numbers of right answers."""
        return abs(round((self.accuracy_a - self.accuracy_b) * self.n_items))

    @property
    def agrees(self) -> bool:
        return self.items_apart <= 1 and self.largest <= self.bound


def compare(names: tuple[str, str], a: Continuations, b: Continuations, bound: float = BOUND) -> Pair:
    """Compares the continuations of two programs.

    Raises:
        ValueError: they have different numbers of prompts or tokens.
    """
    if a.tokens.shape != b.tokens.shape:
        raise ValueError(f"{names[0]} wrote {a.tokens.shape} tokens, {names[1]} {b.tokens.shape}")
    n_rows, length = a.tokens.shape
    differs = a.tokens != b.tokens
    first_different = np.where(differs.any(axis=1), differs.argmax(axis=1), length)
    is_shared = np.arange(length) < first_different[:, None]
    distances = np.abs(a.log_probabilities - b.log_probabilities)[is_shared]
    rows = np.flatnonzero(first_different < length)
    undecided = np.minimum(a.margins, b.margins)[rows, first_different[rows]] < bound
    return Pair(
        *names,
        n_tokens=n_rows * length,
        n_equal=int(is_shared.sum()),
        n_rows=n_rows,
        n_rows_equal=n_rows - len(rows),
        n_excused=int(undecided.sum()),
        largest=float(distances.max()) if len(distances) else math.nan,
        median=float(np.median(distances)) if len(distances) else math.nan,
        bound=bound,
    )


def compare_task(
    names: tuple[str, str], items: Sequence[Item], a: np.ndarray, b: np.ndarray, bound: float = BOUND
) -> TaskPair:
    """Compares the log-likelihoods of every ending of every item, in order. Accuracy is by character (acc_norm)."""
    distances = np.abs(a - b)
    return TaskPair(
        *names,
        accuracy_a=_accuracy(items, a),
        accuracy_b=_accuracy(items, b),
        n_items=len(items),
        largest=float(distances.max()),
        median=float(np.median(distances)),
        bound=bound,
    )


def _accuracy(items: Sequence[Item], log_likelihoods: np.ndarray) -> float:
    remaining = iter(log_likelihoods.tolist())
    scores = [[normalise(next(remaining), 0, ending, "character") for ending in item.endings] for item in items]
    return accuracy(scores, [item.gold for item in items]).value


def pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Every pair of two names, once."""
    return [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]


def compare_all(answers: dict[str, Answers], bound: float = BOUND) -> list[Pair]:
    """Compares every two programs."""
    return [compare((a, b), answers[a].continuations, answers[b].continuations, bound) for a, b in pairs(list(answers))]


def compare_all_tasks(answers: dict[str, Answers], items: Sequence[Item], bound: float = BOUND) -> list[TaskPair]:
    """Compares every two programs that have scored texts."""
    scored = {name: one.log_likelihoods for name, one in answers.items() if one.log_likelihoods is not None}
    return [compare_task((a, b), items, scored[a], scored[b], bound) for a, b in pairs(list(scored))]
