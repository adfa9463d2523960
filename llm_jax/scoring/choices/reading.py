"""A name on the command line → choices: `FILE`, `NAME=FILE` or `NAME:PROMPT=FILE`; the content shows the format."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from llm_jax.files.content import read_text
from llm_jax.files.json_files import parse_json
from llm_jax.scoring.choices import harness, means, ours
from llm_jax.scoring.choices import items as item_files
from llm_jax.scoring.choices.values import UNKNOWN, Choices

MOST_FILES = 500
CURE = (
    "expected a file of `serve evaluate --log-choices`, samples_TASK.jsonl of lm-evaluation-harness, or a CSV file of "
    "nll_0, nll_1, …"
)


def read_all(names: Sequence[str], items: Path | None, task: str = "hellaswag") -> list[Choices]:
    """The choices of all files; those about one model, task and prompt are joined.

    `items` has the right answers of files that have none; `task` is what such a file is about.

    Raises:
        OSError, ValueError: they name the file and what is wrong.
    """
    if not names:
        raise ValueError("no file given: name the files of choices to compare")
    if len(names) > MOST_FILES:
        raise ValueError(f"{len(names)} files are too many for one board; at most {MOST_FILES}")
    known = None if items is None else item_files.read(items, task)
    joined: dict[tuple[str, str, str, bool], Choices] = {}
    for name in names:
        choices = _read(name, task)
        if (choices.gold == UNKNOWN).any():
            if known is None:
                raise ValueError(
                    f"{choices.source} does not say which answers are right: give the data file with --items FILE"
                )
            choices = item_files.with_items(choices, known)
        key = (choices.model, choices.task, choices.prompt, choices.is_letters)
        joined[key] = joined[key].joined(choices) if key in joined else choices
    return list(joined.values())


def _read(name: str, task: str) -> Choices:
    label, equals, rest = name.partition("=")
    if Path(name).exists() or not equals:
        return read(Path(name), task)
    model, _, prompt = label.partition(":")
    choices = read(Path(rest), task)
    return replace(choices, model=model or choices.model, prompt=prompt or choices.prompt)


def read(path: Path, task: str = "hellaswag") -> Choices:
    """The choices of one file. Raises FileNotFoundError, OSError or ValueError naming it."""
    if not path.is_file():
        what = "is a folder: name its files" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"file of choices {path} {what}")
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty; {CURE}")
    text = read_text(path)
    first = next((line for line in io.StringIO(text) if line.strip()), "")
    if means.is_means(first):
        return means.read(path, task)
    if not first.lstrip().startswith("{"):
        raise ValueError(f"{path} begins with {first.strip()[:50]!r}; {CURE}")
    rows: list[dict[str, Any]] = [
        parse_json(line, f"{path}, line {number}:", ours.CURE, dict)
        for number, line in enumerate(io.StringIO(text), 1)
        if line.strip()
    ]
    if ours.is_ours(rows[0]):
        return ours.read(path, rows)
    if harness.is_samples(rows[0]):
        for number, row in enumerate(rows, 1):
            if not harness.is_samples(row):
                raise ValueError(f"{path}, line {number} is no sample of lm-evaluation-harness; {CURE}")
        return harness.read(path, rows)
    raise ValueError(f"{path} has the fields {', '.join(list(rows[0])[:8])}; {CURE}")
