"""What decides the examples: contents of the files, tokenizer, template, settings; and what differs, in words.

The manifest of prepared examples stores it. Files count by their contents, wherever they lie.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from llm_jax.tokenizer.protocol import Tokenizer
from train.finetune.data.config import TEMPLATES, DataConfig
from train.finetune.data.reading.tables import Tables

BY_CONTENT = ("files", "val_files")  # settings that the hashes of the files stand for


def inputs_of(
    config: DataConfig, sources: Mapping[str, Tables], tokenizer: Tokenizer, max_length: int
) -> dict[str, Any]:
    """Everything that decides the examples, as the manifest stores it."""
    settings = {name: value for name, value in dataclasses.asdict(config).items() if name not in BY_CONTENT}
    settings |= {"max_length": max_length}
    chat = tokenizer.chat.templates if tokenizer.chat else {}
    template = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in sorted(chat.items())}
    if config.template not in TEMPLATES and Path(config.template).is_file():
        settings["template"] = hashlib.sha256(Path(config.template).read_bytes()).hexdigest()
    return {
        "data": _sources(sources["train"]),
        "val_data": _sources(sources["val"]) if "val" in sources else [],
        "tokenizer": tokenizer.fingerprint,
        "model_template": template,
        "settings": {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()},
    }


def _sources(source: Tables) -> list[dict[str, Any]]:
    files = [{"name": path.name, "bytes": path.stat().st_size, "sha256": _sha256(path)} for path in source.files()]
    return [*files, *({"name": f"hf:{name}", "split": source.split} for name in source.datasets())]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def difference(before: Any, now: Mapping[str, Any]) -> str:
    """The inputs that differ, in words; empty if none does."""
    if not isinstance(before, dict):
        return "inputs that are not written down"
    for name, flag in (("data", "--data"), ("val_data", "--val-data")):
        if before.get(name) != now[name]:
            return f"other files: {flag} was {_named(before.get(name) or ())}, and is {_named(now[name])}"
    if before.get("tokenizer") != now["tokenizer"]:
        return "another tokenizer"
    if before.get("model_template") != now["model_template"]:
        return "another chat template of the model"
    old = before.get("settings") or {}
    for name, value in now["settings"].items():
        if old.get(name) != value:
            return f"--{name.replace('_', '-')} {_said(old.get(name))}; now it is {_said(value)}"
    return ""


def _named(files: Iterable[Mapping[str, Any]]) -> str:
    return ", ".join(f"{one['name']} (sha256 {one.get('sha256', '')[:12]})" for one in files) or "nothing"


def _said(value: Any) -> str:
    return " ".join(map(str, value)) or "nothing" if isinstance(value, list) else str(value)
