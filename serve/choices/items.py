"""The right answers, groups and subsets of items, from a task's rows.

Items of one group are not independent: HellaSwag has many of one activity, MMLU of one subject. Standard errors by
group (Miller 2024) need them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from llm_jax.scoring.rows import read_rows
from serve.choices.values import UNKNOWN, Choices, of_lengths, table

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


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a HellaSwag-like file. Raises ValueError for other columns."""
    rows = read_rows(path)
    for number, row in enumerate(rows, 1):
        if not isinstance(row.get("endings"), list) or not str(row.get("label")).isdigit():
            raise ValueError(
                f"{path}, row {number} has the columns {', '.join(row)}; --items needs endings (a list) and label "
                "(a number)"
            )
    return rows


def with_items(choices: Choices, rows: Sequence[Mapping[str, Any]], path: Path) -> Choices:
    """The choices with right answers, groups, subsets and lengths of a HellaSwag-like file in the same order.

    Raises:
        ValueError: the file has other items, or other columns.
    """
    if len(rows) != len(choices.items):
        raise ValueError(
            f"{choices.source} has {len(choices.items):,} items, {path} has {len(rows):,}: they are not the same items"
        )
    answers = choices.n_answers
    for number, (row, n) in enumerate(zip(rows, answers, strict=True), 1):
        if len(row["endings"]) != n:
            raise ValueError(f"{path}, row {number} has {len(row['endings'])} answers; {choices.source} has {n}")
    gold = np.array([int(row["label"]) for row in rows])
    if ((choices.gold != UNKNOWN) & (choices.gold != gold)).any():
        raise ValueError(f"{choices.source} and {path} have other right answers: they are not the same items")
    group = tuple(group_of(choices.task, row) for row in rows)
    return replace(
        choices,
        gold=gold,
        group=choices.group or (group if any(group) else None),
        subsets=choices.subsets or subsets_of(choices.task, rows),
        lengths=table([of_lengths(row["endings"])[0] for row in rows], str(path), "length"),
    )
