"""What an evaluation was asked for. Answers that were kept belong to these settings; others are refused by name."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from serve.evaluation.results import Candidate

WEIGHTS = (".safetensors", ".json")  # files of a directory whose change makes it another model


class AnotherEvaluation(ValueError):
    """The folder holds answers of an evaluation with other settings."""


def of(candidates: Sequence[Candidate], described: Mapping[str, Any], tokenizer: str | None) -> dict[str, Any]:
    """The settings on which answers depend. `described` is what the results say of the tasks and their rows."""
    models = {f"model {label(number, one)}": _model(one) for number, one in enumerate(candidates)}
    return models | dict(described) | {"tokenizer": tokenizer}


def label(number: int, candidate: Candidate) -> str:
    """A name for one of the models, unique among them."""
    return f"{number + 1} ({candidate.name})"


def refuse_another(folder: Path, found: Any, settings: Mapping[str, Any]) -> None:
    """Raises AnotherEvaluation unless `found`, which a file says, equals `settings`."""
    if found == settings:
        return
    found = found if isinstance(found, dict) else {}
    name = next(name for name in [*settings, *found] if found.get(name) != settings.get(name))
    raise AnotherEvaluation(
        f"{folder} holds answers of another evaluation, which was not finished. {name}: there "
        f"{_shown(found.get(name))}, here {_shown(settings.get(name))}. Finish that one, give another --out, or remove "
        "its answers with --restart"
    )


def _model(candidate: Candidate) -> dict[str, Any]:
    record = {name: value for name, value in asdict(candidate).items() if value is not None}
    for name in ("source", "adapter"):
        path = Path(record.get(name, ""))
        if name in record and candidate.backend != "server" and not candidate.is_run and path.is_dir():
            record[f"files of {name}"] = _files(path)
    return record


def _files(folder: Path) -> str:
    """A hash of the names, sizes and times of a directory's files."""
    seen = sorted(
        (path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir() if path.suffix in WEIGHTS
    )
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:16]


def _shown(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}…"
