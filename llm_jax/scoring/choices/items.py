"""The right answers, groups and subsets of items, from a task's rows.

Items of one group are not independent: HellaSwag has many of one activity, MMLU of one subject. Standard errors by
group (Miller 2024) need them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from llm_jax.scoring.choices.values import UNKNOWN, Choices, of_lengths, table
from llm_jax.scoring.rows import read_rows

GROUPS = {"hellaswag": "activity_label"}
GROUP_COLUMNS = ("subject", "category", "passage_id")  # of a task that is not in GROUPS: the first that its rows have


def group_of(task: str, row: Mapping[str, Any]) -> str:
    """The item's group; empty where the task's items have none."""
    name = GROUPS.get(task) or next((one for one in GROUP_COLUMNS if one in row), "")
    return str(row.get(name, ""))


def subsets_of(task: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Properties by which items can be divided."""
    if task == "hellaswag" and rows and all("ctx" in row or "ctx_a" in row for row in rows):
        # Instructions of WikiHow begin so; the others describe videos of ActivityNet.
        contexts = [str(row.get("ctx", row.get("ctx_a"))) for row in rows]
        return {"context": tuple("How …" if text.startswith("How") else "other" for text in contexts)}
    return {}


@dataclass(frozen=True)
class Items:
    """What a data file says about its items, in its order."""

    path: Path
    gold: np.ndarray
    group: tuple[str, ...] | None
    subsets: dict[str, tuple[str, ...]]
    lengths: np.ndarray  # characters of the answers; NaN after the last


def read(path: Path, task: str) -> Items:
    """Right answers, groups, subsets and lengths of a HellaSwag-like file. Raises ValueError for other columns."""
    rows = read_rows(path)
    for number, row in enumerate(rows, 1):
        if not isinstance(row.get("endings"), list) or not str(row.get("label")).isdigit():
            raise ValueError(
                f"{path}, row {number} has the columns {', '.join(row)}; --items needs endings (a list) and label "
                "(a number)"
            )
    group = tuple(group_of(task, row) for row in rows)
    return Items(
        path,
        np.array([int(row["label"]) for row in rows]),
        group if any(group) else None,
        subsets_of(task, rows),
        table([of_lengths(row["endings"])[0] for row in rows], str(path), "length"),
    )


def with_items(choices: Choices, items: Items) -> Choices:
    """The choices with what the data file says about the same items, in the same order.

    Raises:
        ValueError: the file has other items.
    """
    if len(items.gold) != len(choices.items):
        raise ValueError(
            f"{choices.source} has {len(choices.items):,} items, {items.path} has {len(items.gold):,}: these are other "
            "items"
        )
    answers = (~np.isnan(items.lengths)).sum(1)
    if (other := np.flatnonzero(answers != choices.n_answers)).size:
        at = other[0]
        raise ValueError(
            f"{items.path}, row {at + 1} has {answers[at]} answers; {choices.source} has {choices.n_answers[at]}"
        )
    if ((choices.gold != UNKNOWN) & (choices.gold != items.gold)).any():
        raise ValueError(f"{choices.source} and {items.path} have other right answers: they are not the same items")
    return replace(
        choices,
        gold=items.gold,
        group=choices.group or items.group,
        subsets=choices.subsets or items.subsets,
        lengths=items.lengths,
    )
