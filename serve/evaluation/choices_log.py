"""What a model gave every answer of every item, kept in files for `serve leaderboard`.

The harness has asked for the log-probability of each answer after its question. Here the model is asked once more, for
each answer after a neutral prompt; tokens are counted by the model's own tokenizer.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from llm_jax.scoring.choices import harness, ours
from llm_jax.scoring.choices.items import group_of, subsets_of
from llm_jax.scoring.choices.values import UNKNOWN, are_letters, of_lengths
from serve.evaluation.results import Candidate

Row = Mapping[str, Any]


class Log:
    """A folder of files, one for each model and task that is a multiple choice."""

    def __init__(self, folder: Path, neutral: str, in_chat: bool = False) -> None:
        """`in_chat`: the questions stand in the model's chat template."""
        self.folder, self.neutral, self._in_chat = folder, neutral, in_chat
        self._written: list[Path] = []
        self._left_out: dict[str, str] = {}  # task → why

    def write(
        self, candidate: Candidate, model: LM, tasks: Mapping[str, Any], samples: Mapping[str, Sequence[Row]]
    ) -> None:
        """Writes the choices of one model on all tasks."""
        for name, rows in samples.items():
            task = tasks[name]
            if task.OUTPUT_TYPE != "multiple_choice":
                self._left_out[name] = "is no multiple choice"
                continue
            first_filter = rows[0].get("filter") if rows else None
            rows = sorted((row for row in rows if row.get("filter") == first_filter), key=lambda row: row["doc_id"])
            try:
                parsed = [harness.item(f"{name}, item {row['doc_id']}", row) for row in rows]
            except ValueError as error:  # the figures of the evaluation are not lost for it
                self._left_out[name] = f"cannot be kept ({error})"
                continue
            if not rows or any(one["gold"] == UNKNOWN for one in parsed):
                self._left_out[name] = "has items without one right answer"
                continue
            self._write_task(candidate, model, task, name, rows, parsed)

    def lines(self) -> list[str]:
        """What was written, and what was not."""
        written = [f"choices: {len(self._written)} files in {self.folder}; compare them with `serve leaderboard`"]
        return (written if self._written else []) + [
            f"no choices of {task}: it {why}" for task, why in self._left_out.items()
        ]

    def _write_task(
        self, candidate: Candidate, model: LM, task: Any, name: str, rows: Sequence[Row], parsed: list[dict[str, Any]]
    ) -> None:
        prompt = f"{int(task.get_config('num_fewshot') or 0)}-shot{' in chat' if self._in_chat else ''}"
        pairs = [
            tuple(pair[:2])
            for row, one in zip(rows, parsed, strict=True)
            for pair in row["arguments"][: len(one["sum"])]
        ]
        tokens = _by_item(_tokens(model, pairs), parsed)
        unconditional = _by_item(self._unconditional(model, task, [answer for _, answer in pairs]), parsed)
        docs = [row["doc"] for row in rows]
        properties = subsets_of(name, docs)
        items = []
        for number, (row, one) in enumerate(zip(rows, parsed, strict=True)):
            characters, n_bytes = of_lengths(one["texts"])
            item = {
                "item": harness.name_of(row),
                "gold": one["gold"],
                "group": group_of(name, row["doc"]),
                "subset": {title: values[number] for title, values in properties.items()},
                "sum": [round(value, 6) for value in one["sum"]],
                "tokens": tokens[number] if tokens else None,
                "characters": characters,
                "bytes": n_bytes,
                "unconditional": [round(value, 6) for value in unconditional[number]] if unconditional else None,
                "greedy": [int(value) for value in one["greedy"]],
            }
            items.append({field: value for field, value in item.items() if value not in (None, "", {})})
        header = {
            "model": candidate.name,
            "source": candidate.source,
            "backend": candidate.backend,
            "task": name,
            "prompt": prompt,
            "answers": "letters" if all(are_letters(one["texts"]) for one in parsed) else "text",
            "neutral": self.neutral,
            "items": len(items),
        }
        file_name = re.sub(r"[^\w.@-]+", "_", f"{candidate.name}.{candidate.backend}.{name}.{prompt}")
        path = self.folder / f"{file_name}.jsonl"
        ours.write(path, header, items)
        self._written.append(path)

    def _unconditional(self, model: LM, task: Any, answers: Sequence[str]) -> list[float]:
        """log p(answer | neutral prompt)."""
        requests = alone(task, self.neutral)
        values = model.loglikelihood(requests)
        found = {str(request.args[-1]): float(value) for request, (value, _) in zip(requests, values, strict=True)}
        return [found[answer] for answer in answers]


def alone(task: Any, neutral: str) -> list[Instance]:
    """The answers that a task has asked, each once, after the neutral prompt."""
    asked = sorted(task.instances, key=lambda one: (one.doc_id, one.idx))
    distinct = dict.fromkeys(str(one.args[-1]) for one in asked)
    return [Instance("loglikelihood", {}, (neutral, answer), number) for number, answer in enumerate(distinct)]


def _tokens(model: Any, pairs: Sequence[tuple[str, str]]) -> list[int] | None:
    """Tokens of each answer; None for a model whose tokenizer is not here."""
    model = getattr(model, "inner", model)
    count = getattr(model, "answer_tokens", None)  # our decoder
    if count is not None:
        return count(pairs)
    encode = getattr(model, "_encode_pair", None)  # the harness's models with a tokenizer
    return None if encode is None else [len(encode(*pair)[1]) for pair in pairs]


def _by_item(values: Sequence[Any] | None, parsed: Sequence[Row]) -> list[list[Any]]:
    """The flat list cut into one list for each item; empty for None."""
    if values is None:
        return []
    remaining = iter(values)
    return [[next(remaining) for _ in one["sum"]] for one in parsed]
