"""Loads the tasks of lm-evaluation-harness by name, with local files in place of downloads.

Prompt, answers and metrics of a task are the harness's. A local file replaces only the source of the rows, so the same
rows give the same figures from a file and from the hub (`serve.evaluation.local_tasks`).
"""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lm_eval.tasks
from lm_eval.api.samplers import FirstNSampler
from lm_eval.api.task import Task
from lm_eval.tasks import TaskManager

from serve.evaluation.local_rows import sources_of
from serve.evaluation.local_tasks import LocalTasks, NotCached, missing_package

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
    "gsm8k": "gsm8k",
    "ifeval": "ifeval",
}
MMLU = "mmlu/default"


def load_tasks(
    names: Sequence[str],
    data: Mapping[str, Mapping[str, Path]],
    num_fewshot: int | None = None,
    limit: int | None = None,
) -> dict[str, Any]:
    """The `task_dict` for `lm_eval.evaluator.evaluate`.

    Args:
        names: of the tasks.
        data: task → role ("test", "train" or "dev") → file or folder.
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
    without_examples: dict[str, str] = {}  # task → the cure, where rows are local
    for name in dict.fromkeys(names):
        if name in data:
            local = LocalTasks(manager, sources_of(name, data[name]), name, most, without_examples)
            task_dict = manager.load(local.build(name))
        else:
            task_dict = _load(manager, name, without_examples)
        for kind, members in loaded.items():
            members |= task_dict.get(kind, {})
    for name, task in loaded["tasks"].items():
        own = task.get_config("num_fewshot")
        set_fewshot(task, num_fewshot)
        takes_first = isinstance(getattr(task, "sampler", None), FirstNSampler)
        if name in without_examples and task.get_config("num_fewshot") and (own or takes_first):
            raise ValueError(
                f"{name} shows {task.get_config('num_fewshot')} examples before each question, which are not among the "
                f"rows to score: {without_examples[name]}, or --num-fewshot 0"
            )
    seed_examples(loaded)
    if any(name.startswith("ifeval") for name in loaded["tasks"]):
        _require_sentence_data()
    return loaded


def _require_sentence_data() -> None:
    """IFEval's checks count sentences by NLTK's data, and fail without it only after everything is generated."""
    import nltk

    try:
        nltk.data.find("tokenizers/punkt_tab")
    except LookupError:
        raise FileNotFoundError(
            "task 'ifeval' counts sentences by NLTK's data punkt_tab, which is not on this machine and cannot be "
            "downloaded: run `python -m nltk.downloader punkt_tab` where there is a network, copy its folder nltk_data "
            "here, and set NLTK_DATA to it"
        ) from None


def _manager(names: Sequence[str]) -> TaskManager:
    of_mmlu = {path.stem.removeprefix("_") for path in (HARNESS_FOLDER / MMLU).glob("*.yaml")}
    found = {MMLU if name in of_mmlu else FOLDERS.get(name) for name in names}
    if None not in found:
        folders: list[str | Path] = [HARNESS_FOLDER / str(folder) for folder in sorted(map(str, found))]
        return TaskManager(include_defaults=False, include_path=folders)
    return TaskManager()


def _unknown(name: str, manager: TaskManager) -> str:
    close = difflib.get_close_matches(name, manager.all_tasks, n=4, cutoff=0.6)
    near = f"near matches: {', '.join(close)}" if close else f"for small models: {', '.join(FOLDERS)}"
    return f"unknown task {name!r}; {near} (`lm-eval ls tasks` lists all)"


def _load(manager: TaskManager, name: str, without_examples: dict[str, str]) -> Mapping[str, Any]:
    """The task, or a group's tasks, with rows from the hub or from a cache of an earlier download."""
    try:
        return manager.load([name])
    except ImportError as error:
        raise missing_package(name, error) from None
    except Exception as error:  # network, hub and tasks raise many kinds of errors
        try:
            return manager.load(LocalTasks(manager, None, name, None, without_examples).build(name))
        except NotCached:
            pass
        raise ConnectionError(
            f"the rows of task {name!r} are not on this machine and cannot be downloaded "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}): give them as a "
            f"file, --data {name}=FILE.parquet or .jsonl"
        ) from error


def set_fewshot(task: Task, number: int | None) -> None:
    """Sets the number of examples as `lm_eval.simple_evaluate` does: a task whose own number is 0 keeps 0."""
    own = task.get_config("num_fewshot")
    if number is not None and own != 0:
        task.set_config(key="num_fewshot", value=number)
    elif own is None:
        task.set_config(key="num_fewshot", value=0)


def seed_examples(loaded: Mapping[str, Any]) -> None:
    """Before each model: the harness draws examples from one random sequence, and every model gets the same ones."""
    for task in loaded["tasks"].values():
        task.set_fewshot_seed(seed=1234)
