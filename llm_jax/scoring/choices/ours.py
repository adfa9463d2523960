"""The file that `serve evaluate --log-choices` writes: JSON Lines, a header, then an item a line.

    {"format": "llm-jax choices", "version": 1, "model": "runs/first@2000", "task": "hellaswag", "prompt": "0-shot",
     "answers": "text", "neutral": "Answer:", …}
    {"item": "0:5a5cd1…", "gold": 3, "group": "Roof shingle removal", "subset": {"source": "other"},
     "sum": [-31.2, …], "tokens": [9, …], "characters": [37, …], "bytes": [37, …], "unconditional": [-40.1, …],
     "greedy": [0, …]}

Every list has a value for each answer, in the order of the data file. Log-probabilities are in nats. `answers` is
"letters" where the answers are A, B, C…. A reader must accept a file that lacks some of the lists, and ignore fields
that it does not know.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from llm_jax.files import replacing
from llm_jax.scoring.choices.values import COLUMNS, UNKNOWN, Choices, table

FORMAT, VERSION = "llm-jax choices", 1
CURE = "the file was cut short or edited: write it again with `serve evaluate --log-choices`"


def is_ours(first: Mapping[str, Any]) -> bool:
    return first.get("format") == FORMAT


def write(path: Path, header: Mapping[str, Any], items: Iterable[Mapping[str, Any]]) -> None:
    """Writes the file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        for line in ({"format": FORMAT, "version": VERSION, **header}, *items):
            file.write((json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n").encode())


def read(path: Path, rows: list[dict[str, Any]]) -> Choices:
    """The choices of the file's lines. Raises ValueError naming file, item and what is wrong."""
    header, items = rows[0], rows[1:]
    if header.get("version") != VERSION:
        raise ValueError(f"{path} has version {header.get('version')!r} of the format; this program reads {VERSION}")
    for name in ("model", "task"):
        if not isinstance(header.get(name), str):
            raise ValueError(f"{path}: its first line has no {name}; {CURE}")
    source = str(path)
    expected = header.get("items")
    if isinstance(expected, int) and expected != len(items):
        raise ValueError(f"{path} has {len(items):,} items; its first line promises {expected:,}; {CURE}")
    for number, row in enumerate(items, 2):
        if "item" not in row or not isinstance(row.get("gold", UNKNOWN), int):
            raise ValueError(
                f"{path}, line {number}: an item needs its name and the number of the right answer; {CURE}"
            )
    present = [name for name in COLUMNS if any(name in row for row in items)]
    for name in present:
        if missing := next(
            (number for number, row in enumerate(items, 2) if not isinstance(row.get(name), list)), None
        ):
            raise ValueError(f"{path}, line {missing} has no list {name!r}, which other lines have; {CURE}")
    columns = {name: table([row[name] for row in items], source, name) for name in present}
    group = tuple(str(row.get("group", "")) for row in items)
    properties = sorted({name for row in items if isinstance(row.get("subset"), dict) for name in row["subset"]})
    return Choices(
        header["model"],
        header["task"],
        str(header.get("prompt", "")),
        source,
        tuple(str(row["item"]) for row in items),
        np.array([row.get("gold", UNKNOWN) for row in items], int),
        columns,
        header.get("answers") == "letters",
        group if any(group) else None,
        {name: tuple(str((row.get("subset") or {}).get(name, "")) for row in items) for name in properties},
    )
