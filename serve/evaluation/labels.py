"""The harness's task, which refuses a row without a right answer; and which row of a file that is.

The harness itself scores such a row: every answer counts as wrong, so a split whose labels were removed gives 0.0000 ±
0.0000. In an example before a question it shows the last answer for the label -1.
"""

import bisect
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from datasets import Dataset
from jinja2 import meta
from lm_eval.api.task import ConfigurableTask

from serve.evaluation.local_rows import Placed

# What the harness and a task's code raise for a row that is not as they expect.
UNREADABLE = (KeyError, IndexError, TypeError, ValueError, AttributeError, SyntaxError, jinja2.TemplateError)
BLANK = (None, "", -1, "-1", [])  # what data sets put in place of a label that they keep back
NO_LABELS = "this split has no labels: use one that has, such as validation"


class Unlabelled(ValueError):
    """A row has no right answer that the harness can score."""


class LabelledTask(ConfigurableTask):
    """A task of the harness in which each target, of questions and of examples, is one that can be scored."""

    def doc_to_target(self, doc: Mapping[str, Any], doc_to_target: Any = None) -> Any:
        """The harness's target. Raises Unlabelled."""
        target = super().doc_to_target(doc, doc_to_target)
        is_own = doc_to_target in (None, self.config.doc_to_target)  # examples may have another form than questions
        if is_own and self.config.process_results is None:  # a measure of the task's own may need no right answer
            if self.OUTPUT_TYPE == "multiple_choice":
                self._require_choice(doc, target)
            elif self.OUTPUT_TYPE == "generate_until" and target in (None, "", []):
                raise Unlabelled("no right answer is given")
        return target

    def _require_choice(self, doc: Mapping[str, Any], target: Any) -> None:
        choices = self.doc_to_choice(doc)
        if not _is_among(target, choices):
            # Where the text is a number, contexts are compared (Winogrande), and that number is the right answer's.
            text = self.doc_to_text(doc)
            gold = text if isinstance(text, int) else target
            if not _is_among(gold, choices):
                numbers = f", 0 to {len(choices) - 1}" if choices else ""
                raise Unlabelled(f"{gold!r} is not the number of one of {len(choices)} answers{numbers}")


def _is_among(gold: Any, choices: Sequence[str]) -> bool:
    """Whether the harness can score this: a text among the answers, a number, or a list of numbers that are right."""
    if isinstance(gold, str):
        return gold in choices
    golds = gold if isinstance(gold, list) else [gold]
    return bool(golds) and all(isinstance(one, int) and 0 <= one < len(choices) for one in golds)


def labelled(config: Mapping[str, Any]) -> LabelledTask:
    """The task, if each of its questions has a right answer. Raises Unlabelled, or one of UNREADABLE."""
    task = LabelledTask(config=dict(config))
    questions: Any = task.task_docs
    for doc in questions:
        task.doc_to_target(doc)
    return task


def name_the_row(name: str, config: Mapping[str, Any], dataset: Dataset, rows: Sequence[Placed]) -> None:
    """Raises ValueError for the first row of which the task makes no question with a right answer, if there is one."""
    alone = {**config, "training_split": None, "fewshot_split": None}

    def error_of(count: int) -> Exception | None:
        """Of the first `count` rows: a task's code may leave rows out, so a question's number is not its row's."""
        first, prepare = dataset.select(range(count)), config.get("process_docs")
        try:
            if prepare is None or len(prepare(first)):  # the harness fails where no question is left
                labelled({**alone, "custom_dataset": lambda **_: {config["test_split"]: first}})
        except UNREADABLE as error:
            return error
        return None

    if error_of(len(rows)):
        count = 1 + bisect.bisect_left(range(1, len(rows)), True, key=lambda count: error_of(count) is not None)
        error = error_of(count)
        assert error is not None
        raise ValueError(_message(name, config, rows[count - 1], error)) from error


def _message(name: str, config: Mapping[str, Any], placed: Placed, error: Exception) -> str:
    row, where = placed.row, f"{placed.path}, row {placed.number}"
    columns = sorted(variables(config.get("doc_to_target")) & row.keys())
    labels = {column: row[column] for column in columns if not isinstance(row[column], list | dict)}
    said = "".join(f"; {column} is {value!r}" for column, value in labels.items())
    if any(value in BLANK for value in labels.values()):
        return f"{where} has no right answer for task {name!r}{said}; {NO_LABELS}"
    if isinstance(error, Unlabelled):
        return f"{where} does not fit task {name!r}{said}; {error}"
    why = f"{where} does not fit task {name!r} ({type(error).__name__}: {error})"
    if isinstance(error, KeyError | jinja2.UndefinedError):
        why += f"; it has the columns {', '.join(row)}"
    empty = ", ".join(_empty(row))
    return f"{why}; empty: {empty}" if empty else f"{why}{said}"


def _empty(row: Mapping[str, Any]) -> list[str]:
    """The columns, and places in lists, without a value."""
    values = {name: value for name, value in row.items() if not isinstance(value, list) or not value}
    values |= {
        f"{name}[{i}]": one for name, many in row.items() if isinstance(many, list) for i, one in enumerate(many)
    }
    return [name for name, value in values.items() if value in (None, "", [])]


def variables(field: Any, is_template: bool = False) -> set[str]:
    """The columns that a field of a task names: in a template, or, unless it `is_template`, as the whole field."""
    if not isinstance(field, str):
        return set()
    if field.isidentifier() and not is_template:
        return {field}
    return meta.find_undeclared_variables(jinja2.Environment(autoescape=False).parse(field))
