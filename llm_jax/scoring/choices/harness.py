"""The files of lm-evaluation-harness's `--log_samples`: `MODEL/samples_TASK_DATE.jsonl`, an item a line.

They have the sum of log-probabilities and the text of each answer, from which characters and bytes follow, and no
tokens. A task with `acc_mutual_info` has also asked for every answer alone: those are the unconditional sums. The model
is the folder's name, the task the file's.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llm_jax.scoring.choices.items import group_of, subsets_of
from llm_jax.scoring.choices.values import UNKNOWN, Choices, are_letters, of_lengths, table

NAME = re.compile(r"samples_(?P<task>.+?)(_\d{4}-\d\d-\d\dT[\d.\-]+)?$")


def is_samples(first: Mapping[str, Any]) -> bool:
    return {"doc_id", "arguments", "target"} <= first.keys() and ("filtered_resps" in first or "resps" in first)


def read(path: Path, rows: list[dict[str, Any]]) -> Choices:
    """Raises ValueError where the items are no multiple choice."""
    found = NAME.match(path.name.removesuffix(".gz").removesuffix(".jsonl"))
    task = found["task"] if found else path.stem
    parsed = [item(f"{path}, line {number}", row) for number, row in enumerate(rows, 1)]
    _check_gold(path, rows, parsed)
    source = str(path)
    columns: dict[str, Sequence[Sequence[Any]]] = {}
    for name in ("sum", "greedy", "unconditional"):
        if all(name in one for one in parsed):
            columns[name] = [one[name] for one in parsed]
    lengths = [of_lengths(one["texts"]) for one in parsed]
    is_letters = all(are_letters(one["texts"]) for one in parsed)
    columns |= {"characters": [one for one, _ in lengths], "bytes": [other for _, other in lengths]}
    docs: list[dict[str, Any]] = [doc if isinstance(doc := row.get("doc"), dict) else {} for row in rows]
    group = tuple(group_of(task, doc) for doc in docs)
    return Choices(
        path.parent.name.replace("__", "/") or path.stem,
        task,
        "",
        source,
        tuple(name_of(row) for row in rows),
        np.array([one["gold"] for one in parsed], int),
        {name: table(values, source, name) for name, values in columns.items()},
        is_letters,
        group if any(group) else None,
        subsets_of(task, docs),
    )


def _check_gold(path: Path, rows: list[dict[str, Any]], parsed: list[dict[str, Any]]) -> None:
    """Raises ValueError where the harness's own `acc` says that another answer is right."""
    for number, (row, one) in enumerate(zip(rows, parsed, strict=True), 1):
        is_right = float(np.argmax(one["sum"]) == one["gold"])
        if row.get("acc") in (0, 1) and one["gold"] != UNKNOWN and is_right != row["acc"]:
            raise ValueError(
                f"{path}, line {number}: by its acc of {row['acc']:g}, target {row['target']!r} is another answer than "
                f"number {one['gold']}: this task's right answers cannot be read"
            )


def name_of(row: Mapping[str, Any]) -> str:
    """An item's number and the beginning of its hash: the same question has the same name in every file."""
    return f"{row['doc_id']}:{str(row.get('doc_hash', ''))[:12]}"


def item(where: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Sums, greedy, texts and the right answer of a sample, as the harness keeps it or writes it.

    Raises ValueError, with `where` in front, for what is no multiple choice.
    """
    arguments = row["arguments"]
    pairs = [_pair(one) for one in (arguments.values() if isinstance(arguments, dict) else arguments)]
    answers = [_answer(one) for one in row.get("filtered_resps", row.get("resps")) or ()]
    if not pairs or len(pairs) != len(answers) or None in pairs or None in answers:
        raise ValueError(
            f"{where} is no multiple choice ({len(pairs)} requests, {len(answers)} answers of "
            "log-probability): give samples of a task such as hellaswag, arc_easy or mmlu"
        )
    n = len(pairs)
    half = n // 2
    # The second half of the requests asks for the answers alone, with an empty context.
    is_doubled = n % 2 == 0 and half > 1 and all(pair and pair[0] == "" for pair in pairs[half:])
    is_doubled = is_doubled and any(pair and pair[0] for pair in pairs[:half])
    kept = half if is_doubled else n
    found: dict[str, Any] = {
        "texts": [pair[1] for pair in pairs[:kept] if pair],
        "sum": [answer[0] for answer in answers[:kept] if answer],
        "greedy": [answer[1] for answer in answers[:kept] if answer],
        "gold": _gold(row["target"], [pair[1] for pair in pairs[:kept] if pair]),
    }
    if is_doubled:
        found["unconditional"] = [answer[0] for answer in answers[half:] if answer]
    return found


def _pair(argument: Any) -> tuple[str, str] | None:
    """(context, answer) of a request, as the harness writes it or as it keeps it."""
    values = list(argument.values()) if isinstance(argument, dict) else argument
    if not isinstance(values, list | tuple) or len(values) < 2 or not all(isinstance(one, str) for one in values[:2]):
        return None
    return values[0], values[1]


def _answer(response: Any) -> tuple[float, float] | None:
    """(log-probability, is greedy) of ["-12.3", "False"], or of the same in further lists."""
    while isinstance(response, list | tuple) and len(response) == 1:
        response = response[0]
    if not isinstance(response, list | tuple) or len(response) != 2:
        return None
    try:
        return float(response[0]), float(str(response[1]) == "True")
    except (TypeError, ValueError):
        return None


def _gold(target: Any, texts: list[str]) -> int:
    """A number, a letter, or the answer's own text."""
    text = str(target).strip()
    if text.lstrip("-").isdigit():
        return int(text)
    bare = [one.strip() for one in texts]
    if text in bare:
        return bare.index(text)
    return ord(text) - ord("A") if len(text) == 1 and "A" <= text <= "Z" else UNKNOWN
