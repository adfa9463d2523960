"""Results of a curation stage, from datatrove's `stats.json`: documents in, out, and removed by each filter."""

import re
from pathlib import Path
from typing import Any

from llm_jax.files.json_files import read_json

FILE_NAME = "stats.json"
REASON = "dropped_"


def documents(logs: Path) -> tuple[int | None, int | None]:
    """Documents read and written; None for a stage that does not read or write documents."""
    counts: dict[str, int | None] = {"READER": None, "WRITER": None}
    for step in _steps(logs):
        for kind, key in (("READER", "documents"), ("WRITER", "total")):
            if kind in step["name"]:
                counts[kind] = _count(step["stats"].get(key, 0))
    return counts["READER"], counts["WRITER"]


def summary(logs: Path) -> str:
    """Documents in and out, in words."""
    n_in, n_kept = documents(logs)
    if n_in is None:
        return ""
    return f"{n_in:,} documents" + ("" if n_kept is None else f", {n_kept:,} kept")


def removals(logs: Path) -> str:
    """One line for each filter, in order: how many documents it removed, and by which of its rules."""
    lines = []
    for step in _steps(logs):
        if "FILTER" not in step["name"]:
            continue
        stats = {key: _count(value) for key, value in step["stats"].items() if key.startswith("dropped")}
        rules = {key.removeprefix(REASON): count for key, count in stats.items() if key.startswith(REASON)}
        name = re.sub(r"[^ -~]", "", step["name"].split(":", 1)[-1]).strip()  # without datatrove's emoji
        line = f"{stats.get('dropped', 0):,} removed by {name}"
        if rules:
            line += ": " + ", ".join(f"{rule} {count:,}" for rule, count in sorted(rules.items(), key=lambda r: -r[1]))
        lines.append(f"{'':<17}{line}\n")
    return "".join(lines)


def _steps(logs: Path) -> list[dict[str, Any]]:
    return read_json(logs / FILE_NAME, kind=list)


def _count(value: Any) -> int:
    """A count that datatrove stores as a number or as statistics over files."""
    return round(value["total"] if isinstance(value, dict) else value)
