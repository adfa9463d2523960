"""The choices of a model on a task: item × answer arrays, checked when they are made.

sum             log p(answer | context), nats, over the answer's tokens
tokens          of the answer
characters      of the answer, without the space before it
bytes           the same in UTF-8
unconditional   log p(answer | neutral prompt)
greedy          1 where greedy decoding writes the answer
token mean, byte mean   in place of sum and length, where a file has nothing else
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

LOG_PROBABILITIES = ("sum", "unconditional", "token mean", "byte mean")
LENGTHS = ("tokens", "characters", "bytes")
COLUMNS = ("sum", "tokens", "characters", "bytes", "unconditional", "greedy", "token mean", "byte mean")
ROUNDING = 1e-4  # a log-probability may be above 0 by so much
UNKNOWN = -1  # in place of a right answer


@dataclass(frozen=True)
class Choices:
    """`columns` hold NaN where an item has fewer answers than others."""

    model: str
    task: str
    prompt: str
    source: str  # file, for messages
    items: tuple[str, ...]  # names; equal names are the same question
    gold: np.ndarray  # (N,) the right answer; UNKNOWN where the file does not say
    columns: dict[str, np.ndarray]  # name in COLUMNS → (N, answers)
    is_letters: bool = False  # the answers are A, B, C…, printed before the question's end
    group: tuple[str, ...] | None = (
        None  # items of one group depend on each other: HellaSwag's activity, MMLU's subject
    )
    subsets: dict[str, tuple[str, ...]] = field(default_factory=dict)  # property → its value for each item
    lengths: np.ndarray | None = None  # characters of the answers, for files that score another text than the answer

    def __post_init__(self) -> None:
        n = len(self.items)
        if not n:
            raise ValueError(f"{self.source} has no items")
        if len(set(self.items)) < n:
            seen: set[str] = set()
            twice = next(item for item in self.items if item in seen or seen.add(item))
            raise ValueError(f"{self.source} has item {twice[:60]!r} twice: leave one of them out")
        for name, table in self.columns.items():
            self._check(name, table)
        if not {"sum", "token mean", "byte mean"} & set(self.columns):
            raise ValueError(f"{self.source} has no log-probabilities; it has {', '.join(self.columns) or 'nothing'}")
        answers = self.n_answers
        if (bad := np.flatnonzero(answers < 2)).size:
            raise ValueError(f"{self.source}, item {self.items[bad[0]]}: {answers[bad[0]]} answer; a choice needs two")
        outside = np.flatnonzero((self.gold < UNKNOWN) | (self.gold >= answers))
        if outside.size:
            at = outside[0]
            raise ValueError(
                f"{self.source}, item {self.items[at]}: the right answer is number {self.gold[at]}, of {answers[at]} "
                "(the first is 0)"
            )

    @property
    def n_answers(self) -> np.ndarray:
        """Of each item."""
        return (~np.isnan(next(iter(self.columns.values())))).sum(1)

    def _check(self, name: str, table: np.ndarray) -> None:
        first = next(iter(self.columns.values()))
        if table.shape != first.shape or (np.isnan(table) != np.isnan(first)).any():
            raise ValueError(
                f"{self.source}: {name} has not as many values as {next(iter(self.columns))} for each item"
            )
        with np.errstate(invalid="ignore"):
            is_bad = np.isinf(table) | (
                table > ROUNDING if name in LOG_PROBABILITIES else table < (1 if name in LENGTHS else 0)
            )
        if is_bad.any():
            row, column = np.argwhere(is_bad)[0]
            what = "a log-probability is at most 0" if name in LOG_PROBABILITIES else "it must be positive"
            raise ValueError(
                f"{self.source}, item {self.items[row]}, answer {column}: {name} is {table[row, column]:g}; "
                f"{what} and finite"
            )

    def joined(self, other: "Choices") -> "Choices":
        """One value of two files about the same model, task and prompt. Raises ValueError where both have a column."""
        if self.items != other.items or (self.gold != other.gold).any():
            raise ValueError(f"{self.source} and {other.source} are both {self.model} on {self.task}, with other items")
        if twice := set(self.columns) & set(other.columns):
            raise ValueError(
                f"{self.source} and {other.source} both have {sorted(twice)[0]} of {self.model} on {self.task} "
                f"({self.prompt}): leave one out, or name one: NAME=FILE"
            )
        return replace(self, columns=self.columns | other.columns, source=f"{self.source}, {other.source}")


def table(rows: Sequence[Sequence[Any]], source: str, name: str) -> np.ndarray:
    """(N, answers), NaN after the last answer of an item that has fewer. Raises ValueError for what is no number."""
    width = max((len(row) for row in rows), default=0)
    with contextlib.suppress(TypeError, ValueError):  # as many answers everywhere: no loop over items
        whole = np.array(rows, float)
        if whole.ndim == 2 and not np.isnan(whole).any():
            return whole
    found = np.full((len(rows), width), np.nan)
    for number, row in enumerate(rows):
        try:
            values = np.array(row, float)
        except (TypeError, ValueError):
            raise ValueError(f"{source}, item {number + 1}: {name} holds {str(row)[:60]}; expected numbers") from None
        if values.ndim != 1 or np.isnan(values).any():
            raise ValueError(
                f"{source}, item {number + 1}: {name} is {str(row)[:60]}; expected a number for each answer"
            )
        found[number, : len(row)] = values
    return found


def of_lengths(texts: Mapping[int, str] | list[str]) -> tuple[list[int], list[int]]:
    """Characters and bytes of answers, without the one space before them (as the harness counts), at least 1."""
    bare = [text.removeprefix(" ") for text in (texts.values() if isinstance(texts, Mapping) else texts)]
    return [max(1, len(text)) for text in bare], [max(1, len(text.encode())) for text in bare]


def are_letters(answers: list[str]) -> bool:
    """Whether the answers are A, B, C… in their order."""
    return len(answers) > 1 and all(text.strip(" ().") == chr(ord("A") + i) for i, text in enumerate(answers[:26]))
