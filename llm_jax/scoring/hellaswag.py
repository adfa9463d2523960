"""HellaSwag (Zellers et al. 2019): which of four endings continues a description? Random guessing gives 0.25.

Two preparations of the text are in use, and give the same model different accuracies:

    harness   "activity: context", brackets of WikiHow removed, the ending's fragment capitalised: lm-evaluation-harness
    plain     the context as it is in the file, no activity: build-nanogpt, llm.c

A file may have the columns `ctx_a` and `ctx_b`, as Rowan/hellaswag does, or only the whole `ctx`. Then there is nothing
to capitalise, and the text of an ActivityNet item differs from the harness's in one letter.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from llm_jax.scoring.conventions import CONVENTIONS, Convention, Estimate, accuracy, normalise
from llm_jax.scoring.likelihood import Scored, TokenScores, score
from llm_jax.scoring.requests import Request, encode_request
from llm_jax.scoring.rows import read_rows, require_columns
from llm_jax.tokenizer import Tokenizer

Preparation = Literal["harness", "plain"]
WIKIHOW_STEP, WIKIHOW_BRACKETS = " [title]", re.compile(r"\[.*?\]")


class Item(NamedTuple):
    """One question. Each ending follows the query after a space; `gold` is the index of the right one."""

    query: str
    endings: tuple[str, ...]
    gold: int


def with_parts(row: dict[str, Any]) -> dict[str, Any]:
    """The row with `ctx_a` and `ctx_b`. If it has only `ctx`, `ctx_a` is that and `ctx_b` is empty."""
    return row if {"ctx_a", "ctx_b"} <= row.keys() or "ctx" not in row else row | {"ctx_a": row["ctx"], "ctx_b": ""}


def read_items(path: Path, preparation: Preparation = "harness", limit: int | None = None) -> list[Item]:
    """Items of a local file, in its order.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a row is wrong; names file, row and problem.
    """
    rows = read_rows(path, limit)
    has_parts = {"ctx_a", "ctx_b"} <= rows[0].keys() and preparation == "harness"
    context = {"ctx_a", "ctx_b"} if has_parts else {"ctx"}
    activity = {"activity_label"} if preparation == "harness" else set()
    for number, row in enumerate(rows, 1):
        require_columns(path, row, context | activity | {"endings", "label"}, f"HellaSwag (row {number})")
        valid_label = str(row["label"]) in map(str, range(len(row["endings"])))
        if not valid_label:
            raise ValueError(
                f"{path}, row {number}: label {row['label']!r} is not the number of one of its {len(row['endings'])} "
                "endings; the test split has no labels: use the validation split"
            )
    return [_item(row, preparation) for row in rows]


def _item(row: dict[str, Any], preparation: Preparation) -> Item:
    gold = int(row["label"])
    if preparation == "plain":
        return Item(row["ctx"], tuple(row["endings"]), gold)
    row = with_parts(row)
    context = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}"
    return Item(_clean(context), tuple(map(_clean, row["endings"])), gold)


def _clean(text: str) -> str:
    """Removes WikiHow's brackets and replaces each pair of spaces by one, once, as lm-evaluation-harness does."""
    return WIKIHOW_BRACKETS.sub("", text.strip().replace(WIKIHOW_STEP, ". ")).replace("  ", " ")


def encode(items: Sequence[Item], tokenizer: Tokenizer) -> list[Request]:
    """A request for every ending of every item, in order."""
    return [encode_request(tokenizer, item.query, f" {ending}") for item in items for ending in item.endings]


def accuracies(
    items: Sequence[Item], requests: Sequence[Request], answers: Sequence[Scored]
) -> dict[Convention, Estimate]:
    """The accuracy under every convention. Requests and answers are in the order of `encode` and `score`."""
    remaining = iter(zip(requests, answers, strict=True))
    scored = [[(ending, *next(remaining)) for ending in item.endings] for item in items]
    gold = [item.gold for item in items]
    return {
        convention: accuracy(
            [
                [normalise(answer.log_likelihood, len(r.continuation), text, convention) for text, r, answer in row]
                for row in scored
            ],
            gold,
        )
        for convention in CONVENTIONS
    }


def evaluate(
    items: Sequence[Item],
    tokenizer: Tokenizer,
    call: Callable[..., TokenScores],
    context_length: int,
) -> dict[Convention, Estimate]:
    """Accuracy of a model on the items, under every convention. `call` is what `likelihood.scorer` returns."""
    requests = encode(items, tokenizer)
    answers = score(requests, call, context_length)
    assert answers is not None  # it is None only with should_stop
    return accuracies(items, requests, answers)
