"""The record as one HTML page (`llm_jax.files.page`); `page.js` beside this fills it."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_jax.files.page import document

SCRIPT = Path(__file__).with_name("page.js")
MOST_PAIRS = 300  # of a board; with more, the page has those of neighbours, and the JSON file all


def write(path: Path, record: Mapping[str, Any]) -> None:
    """Writes the page, whole or not at all."""
    title = "Leaderboard: " + ", ".join(task["task"] for task in record["tasks"])
    document.write(path, title, {**record, "tasks": [_lighter(task) for task in record["tasks"]]}, SCRIPT)


def _lighter(task: Mapping[str, Any]) -> dict[str, Any]:
    """The task without the pairs that make a page too large."""
    orders = {(board["prompt"], board["rule"]): board["rows"] for board in task["boards"] if board["subset"] == "all"}
    kept = []
    for one in task["pairs"]:
        if len(one["pairs"]) > MOST_PAIRS:
            neighbours = set(itertools.pairwise(row["model"] for row in orders[one["prompt"], one["rule"]]))
            one = {**one, "pairs": [pair for pair in one["pairs"] if (pair["better"], pair["worse"]) in neighbours]}
        kept.append(one)
    return {**task, "pairs": kept}
