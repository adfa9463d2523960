"""The results of an evaluation, for each model and task: metrics with their standard errors."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from llm_jax.files import json_files
from llm_jax.runs import is_run

FORMAT = 1
JSON_NAME = "results.json"
Backend = Literal["jax", "hf", "server"]

# The harness's names of metrics → conventions of `llm_jax.scoring.conventions`.
MEANING = {"acc": "sum", "acc_norm": "character", "acc_bytes": "byte"}


@dataclass(frozen=True)
class Measurement:
    """One metric of one task."""

    value: float
    stderr: float | None  # None if the harness has no estimate
    higher_is_better: bool | None
    n_items: int


@dataclass(frozen=True)
class Candidate:
    """A model to evaluate: a directory, a server, or one checkpoint of a run."""

    name: str
    source: str
    backend: Backend
    step: int | None = None
    tokens: int | None = None  # seen in training, if known
    adapter: str | None = None  # folder of an adapter that is merged into it

    @property
    def is_run(self) -> bool:
        return self.backend != "server" and is_run(Path(self.source))


@dataclass(frozen=True)
class Evaluated(Candidate):
    """A model with its results."""

    seconds: float = 0.0
    tasks: dict[str, dict[str, Measurement]] = field(default_factory=dict)


def from_harness(results: Mapping[str, Any]) -> dict[str, dict[str, Measurement]]:
    """The harness's `results` as task → metric → measurement. A filter, if any, is part of the metric's name."""
    tasks: dict[str, dict[str, Measurement]] = {}
    for task, values in results["results"].items():
        directions = results["higher_is_better"].get(task, {})
        n_items = results.get("n-samples", {}).get(task, {}).get("effective", 0)
        for key, value in values.items():
            metric, comma, filter_name = key.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            stderr = values.get(f"{metric}_stderr,{filter_name}")
            is_known = isinstance(stderr, int | float) and math.isfinite(stderr)
            name = metric if filter_name == "none" else f"{metric} ({filter_name})"
            tasks.setdefault(task, {})[name] = Measurement(
                float(value), float(stderr) if is_known else None, directions.get(metric), n_items
            )
    return tasks


def write_json(path: Path, evaluated: Sequence[Evaluated], settings: Mapping[str, Any]) -> None:
    """Writes results and settings, completely or not at all. Numbers that are not finite become null."""
    record = {
        "format": FORMAT,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **settings,
        "models": [json_files.finite(asdict(one)) for one in evaluated],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    json_files.write_json(path, record)
