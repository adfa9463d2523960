"""Loads the tasks of lm-evaluation-harness by name, with local files in place of downloads.

Prompt, answers and metrics of a task are the harness's. A local file replaces only the source of the rows, so the same
rows give the same figures from a file and from the hub.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import lm_eval.tasks
from datasets import Dataset
from jinja2 import meta
from lm_eval.api.task import ConfigurableTask, Task
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from llm_jax.scoring.hellaswag import with_parts
from llm_jax.scoring.rows import read_rows, require_columns

Row = dict[str, Any]
HARNESS_FOLDER = Path(lm_eval.tasks.__file__).parent

# Folders of the tasks for small models. Reading all of the harness's 14,000 task files would take seconds.
FOLDERS = {
    "hellaswag": "hellaswag",
    "arc_easy": "arc",
    "arc_challenge": "arc",
    "piqa": "piqa",
    "lambada_openai": "lambada",
    "lambada_standard": "lambada",
    "wikitext": "wikitext",
}


def _text_as_page(row: Row) -> Row:
    return row if "page" in row or "text" not in row else row | {"page": row["text"]}


_ITEM = ("activity_label", "endings", "label")

# Columns that a task's Python code reads but its YAML file does not name; and functions that rename columns.
COLUMNS_OF_CODE: dict[str, set[str]] = {"hellaswag": {*_ITEM, "ctx_a", "ctx_b"}, "wikitext": {"page"}}
PREPARE: dict[str, Callable[[Row], Row]] = {"hellaswag": with_parts, "wikitext": _text_as_page}


def parse_data(assignments: Sequence[str]) -> dict[str, dict[str, Path]]:
    """`TASK=FILE` and `TASK:train=FILE` as task → role → file.

    Raises:
        ValueError: an assignment has another form.
    """
    files: dict[str, dict[str, Path]] = {}
    for assignment in assignments:
        name, equals, path = assignment.partition("=")
        task, _, role = name.partition(":")
        if not (equals and task and path) or role not in ("", "train"):
            raise ValueError(
                f"--data takes TASK=FILE, or TASK:train=FILE for the examples of --num-fewshot; got {assignment!r}"
            )
        files.setdefault(task, {})[role or "test"] = Path(path)
    return files


def load_tasks(
    names: Sequence[str],
    data: Mapping[str, Mapping[str, Path]],
    num_fewshot: int | None = None,
    limit: int | None = None,
) -> dict[str, Any]:
    """The `task_dict` for `lm_eval.evaluator.evaluate`.

    Args:
        names: of the tasks.
        data: task → role ("test" or "train") → file.
        num_fewshot: examples before each question; None: the task's own number.
        limit: largest number of rows to read from a file of test rows.

    Raises:
        ValueError: a task is unknown (with near matches), or a file has other columns.
        FileNotFoundError: a file does not exist.
        ConnectionError: rows must be downloaded and cannot be.
    """
    if unused := sorted(set(data) - set(names)):
        raise ValueError(f"--data names task {unused[0]!r}, which --tasks does not ask for: {', '.join(names)}")
    manager = _manager(names)
    most = None if num_fewshot else limit  # examples may be drawn from the other rows
    loaded: dict[str, Any] = {"tasks": {}, "groups": {}, "group_map": {}}
    for name in names:
        if name not in manager.task_index:
            raise ValueError(_unknown(name, manager))
    for name in dict.fromkeys(names):
        task_dict = _load_local(manager, name, data[name], most) if name in data else _load(manager, name)
        for kind, members in loaded.items():
            members |= task_dict.get(kind, {})
    for task in loaded["tasks"].values():
        _set_fewshot(task, num_fewshot)
    return loaded


def _manager(names: Sequence[str]) -> TaskManager:
    if all(name in FOLDERS for name in names):
        folders: list[str | Path] = [HARNESS_FOLDER / folder for folder in sorted({FOLDERS[name] for name in names})]
        return TaskManager(include_defaults=False, include_path=folders)
    return TaskManager()


def _unknown(name: str, manager: TaskManager) -> str:
    close = difflib.get_close_matches(name, manager.all_tasks, n=4, cutoff=0.6)
    near = f"near matches: {', '.join(close)}" if close else f"for small models: {', '.join(FOLDERS)}"
    return f"unknown task {name!r}; {near} (`lm-eval ls tasks` lists all)"


def _load(manager: TaskManager, name: str) -> Mapping[str, Any]:
    """The task, or a group's tasks, with rows from the hub or from the cache of an earlier download."""
    try:
        return manager.load([name])
    except Exception as error:  # network, hub and tasks raise many kinds of errors
        raise ConnectionError(
            f"the rows of task {name!r} are not on this machine and cannot be downloaded "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}): give them as a "
            f"file, --data {name}=FILE.parquet or .jsonl"
        ) from error


def _load_local(manager: TaskManager, name: str, files: Mapping[str, Path], limit: int | None) -> Mapping[str, Any]:
    """The harness's task over the rows of files."""
    entry = manager.task_index[name]
    if entry.kind.name != "TASK" or entry.yaml_path is None:
        raise ValueError(
            f"{name!r} is a group of tasks or is defined in Python: --data takes a single task with a YAML file"
        )
    if "test" not in files:
        raise ValueError(f"--data {name}:train=… gives only examples: add {name}=FILE with the rows to score")
    config = load_yaml(entry.yaml_path)
    for key in ("tag", "group", "task_list"):
        config.pop(key, None)
    splits = {"test": _rows(name, config, files["test"], limit)}
    if "train" in files:
        splits["train"] = _rows(name, config, files["train"])
    config |= {
        "test_split": "test",
        "validation_split": None,
        "training_split": "train" if "train" in files else None,
        "fewshot_split": "train" if "train" in files else None,
        "dataset_path": str(files["test"]),
        "dataset_name": None,
        "dataset_kwargs": None,
        "custom_dataset": lambda **_: splits,
    }
    try:
        return manager.load([ConfigurableTask(config=config)])
    except (KeyError, IndexError, TypeError, jinja2.UndefinedError) as error:
        raise ValueError(
            f"{files['test']}: its rows are not those of task {name!r} ({type(error).__name__}: {error}); it has "
            f"the columns {', '.join(splits['test'].column_names)}"
        ) from error


def _rows(task: str, config: Mapping[str, Any], path: Path, limit: int | None = None) -> Dataset:
    rows = read_rows(path, limit)
    prepare = PREPARE.get(task, lambda row: row)
    needed = COLUMNS_OF_CODE.get(task) or _columns(config)
    for number, row in enumerate(rows, 1):
        require_columns(path, row, needed - prepare(row).keys(), f"{task} (row {number})")
    return Dataset.from_list([prepare(row) for row in rows])


def _columns(config: Mapping[str, Any]) -> set[str]:
    """The columns that a task's templates name. For a task with its own Python code they are not known: empty."""
    if config.get("process_docs"):
        return set()
    fields = [config.get(name) for name in ("doc_to_text", "doc_to_target", "doc_to_choice")]
    templates = [field for field in fields if isinstance(field, str)]
    parse = jinja2.Environment(autoescape=False).parse
    # The target of a multiple-choice task may be the name of a column instead of a template.
    target = str(config.get("doc_to_target"))
    columns = {target} if config.get("output_type") == "multiple_choice" and target.isidentifier() else set()
    return columns.union(*(meta.find_undeclared_variables(parse(template)) for template in templates))


def _set_fewshot(task: Task, number: int | None) -> None:
    """Sets the number of examples as `lm_eval.simple_evaluate` does: a task whose own number is 0 keeps 0."""
    own = task.get_config("num_fewshot")
    if number is not None and own != 0:
        task.set_config(key="num_fewshot", value=number)
    elif own is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=1234)
