"""The harness's tasks over the rows of local files. Prompt, answers and metrics stay the harness's.

A group of tasks, such as mmlu, takes a folder with a folder for each task, or a file whose column `subject` names them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from datasets import Dataset
from lm_eval.api.group import Group
from lm_eval.api.task import Task
from lm_eval.config.group import GroupConfig
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from llm_jax.scoring.hellaswag import with_parts
from llm_jax.scoring.rows import require_columns
from serve.evaluation.labels import UNREADABLE, labelled, name_the_row, variables
from serve.evaluation.local_rows import Placed, Sources, from_hub_cache, rows_of

Row = dict[str, Any]


def _text_as_page(row: Row) -> Row:
    return row if "page" in row or "text" not in row else row | {"page": row["text"]}


_ITEM = ("activity_label", "endings", "label")

# Columns that a task's Python code reads but its YAML file does not name; and functions that rename columns.
COLUMNS_OF_CODE: dict[str, set[str]] = {
    "hellaswag": {*_ITEM, "ctx_a", "ctx_b"},
    "wikitext": {"page"},
    "ifeval": {"key", "prompt", "instruction_id_list", "kwargs"},
}
PREPARE: dict[str, Callable[[Row], Row]] = {"hellaswag": with_parts, "wikitext": _text_as_page}


class NotCached(Exception):
    """The hub's cache has no rows of a task."""


class LocalTasks:
    """Builds a task, or a group's tasks, over local rows: those of the sources, or else of the hub's cache."""

    def __init__(
        self, manager: TaskManager, sources: Sources | None, asked: str, limit: int | None, without: dict[str, str]
    ) -> None:
        self._manager, self._sources, self._asked = manager, sources, asked
        self._limit, self._without = limit, without

    def build(self, name: str) -> list[Any]:
        """The tasks and groups that the name stands for."""
        entry = self._manager.task_index[name]
        if entry.kind.name == "TAG":
            return [one for member in sorted(entry.tags) for one in self.build(member)]
        if entry.yaml_path is None or entry.kind.name not in ("TASK", "GROUP"):
            return self._refuse(name, "is defined in Python")
        config = load_yaml(entry.yaml_path, resolve_func=False)
        if entry.kind.name == "TASK":
            return [self._task(name, config, entry.yaml_path)]
        members = config.get("task") or []
        if not all(isinstance(member, str) for member in members):
            return self._refuse(name, "is a group that changes its tasks")
        known = {one.name for one in fields(GroupConfig)}
        group = Group.from_config(GroupConfig(**{key: value for key, value in config.items() if key in known}))
        for member in members:
            for one in self.build(member):
                group.add(one)
        return [group]

    def _refuse(self, name: str, why: str) -> list[Any]:
        if self._sources is None:
            raise NotCached(name)
        raise ValueError(f"{name!r} {why}: --data takes tasks with a YAML file, and groups of them")

    def _task(self, name: str, config: dict[str, Any], yaml: Path) -> Task:
        """The harness's task over local rows."""
        sources = self._sources or from_hub_cache(str(config["dataset_path"]))
        if sources is None:
            raise NotCached(name)
        try:
            config = load_yaml(yaml)
        except ImportError as error:
            raise missing_package(name, error) from None
        for key in ("tag", "group", "task_list"):
            config.pop(key, None)
        subset = config.get("dataset_name")
        test = str(config.get("test_split") or config.get("validation_split"))
        examples = str(config.get("fewshot_split") or config.get("training_split") or "train")
        found = rows_of(sources.test, subset, test, self._limit)
        if found is None:
            where = f"{sources.test}/{subset}" if subset else sources.test
            raise FileNotFoundError(
                f"{sources.test} has no rows of {name}: neither there nor in {where} is a file {test}*.parquet, .jsonl "
                "or .json"
            )
        splits = {test: _dataset(name, config, found)}
        shown = rows_of(sources.examples or sources.test, subset, examples) if examples != test else None
        if shown is not None and (sources.examples or sources.test.is_dir()):
            splits[examples] = _dataset(name, config, shown)
        else:
            role = "train" if examples == "train" else "dev"
            self._without[name] = f"give --data {self._asked}:{role}=FILE"
        shows = examples in splits and examples != test
        config |= {
            "test_split": test,
            "validation_split": None,
            "training_split": examples if shows else None,
            "fewshot_split": examples if shows else None,
            "dataset_path": str(sources.test),
            "dataset_name": None,
            "dataset_kwargs": None,
            "custom_dataset": lambda **_: splits,
        }
        try:
            task = labelled(config)
        except UNREADABLE as error:
            for split, rows in ((test, found), (examples, shown or [])):
                if split in splits:
                    name_the_row(name, config, splits[split], rows)
            raise ValueError(
                f"{found[0].path}: its rows do not fit task {name!r} ({type(error).__name__}: {error})"
            ) from error
        has_own_form = {"process_docs", "doc_to_target"} & set(config.get("fewshot_config") or {})
        if shows and sources.examples and shown and not has_own_form:
            name_the_row(name, config, splits[examples], shown)
        return task


def missing_package(task: str, error: ImportError) -> ImportError:
    return ImportError(f"task {task!r} needs a package that is not installed ({error}): `uv sync --extra eval`")


def _dataset(task: str, config: Mapping[str, Any], rows: Sequence[Placed]) -> Dataset:
    prepare = PREPARE.get(task, lambda row: row)
    needed = COLUMNS_OF_CODE.get(task) or _columns(config)
    for row, path, number in rows:
        require_columns(path, row, needed - prepare(row).keys(), f"{task} (row {number})")
    return Dataset.from_list([prepare(one.row) for one in rows])


def _columns(config: Mapping[str, Any]) -> set[str]:
    """The columns that a task's templates name. For a task with its own Python code they are not known: empty."""
    if config.get("process_docs"):
        return set()
    columns = variables(config.get("doc_to_target")) if config.get("output_type") == "multiple_choice" else set()
    fields = [config.get(name) for name in ("doc_to_text", "doc_to_target", "doc_to_choice")]
    return columns.union(*(variables(field, is_template=True) for field in fields))
