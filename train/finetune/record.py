"""config.json of a fine-tuning run: written when it begins, compared when it resumes."""

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_jax.config import DecoderConfig
from llm_jax.files import replacing_folder
from llm_jax.files.json_files import write_json
from llm_jax.runs import CONFIG, FORMAT, TOKENIZER, read_config
from llm_jax.tokenizer import Tokenizer
from llm_jax.tokenizer.hf_files import chat_templates
from train.finetune.config import FinetuneConfig, ObjectiveConfig, from_json, to_dict
from train.pretrain.run_folder import Changes, Identity, differences

COMMAND = "finetune"


@dataclass(frozen=True)
class Record:
    """What a run is, as its config.json says."""

    config: FinetuneConfig
    model: DecoderConfig
    task: str
    labels: tuple[str, ...] | None
    base: dict[str, Any]  # source, folder, step, hash
    identity: Identity


def save(run: Path, record: Record, tokenizer: Tokenizer) -> None:
    """Writes config.json and, where it is missing, the tokenizer."""
    run.mkdir(parents=True, exist_ok=True)
    content = {
        "format": FORMAT,
        "command": COMMAND,
        "model": dataclasses.asdict(record.model),
        "training": to_dict(record.config),
        "task": record.task,
        "labels": list(record.labels) if record.labels else None,
        "lora": dataclasses.asdict(record.config.lora) if record.config.lora else None,
        "base": record.base,
        "data": list(record.config.data.files),
        "identity": dataclasses.asdict(record.identity),
    }
    if (run / CONFIG).exists() and read(run).identity.tokenizer != record.identity.tokenizer:
        shutil.rmtree(run / TOKENIZER, ignore_errors=True)
    write_json(run / CONFIG, content)
    if not (run / TOKENIZER).exists():
        with replacing_folder(run / TOKENIZER) as scratch:
            tokenizer.save(scratch, record.model.context_length)
            chat_templates.save(scratch, tokenizer.chat)  # the base's own files may hold another template


def read(run: Path) -> Record:
    """The record of a run's last start. Raises FileNotFoundError or ValueError with the file's name."""
    path, content = run / CONFIG, read_config(run)
    if content.get("command") != COMMAND:
        raise ValueError(f"{run} is a run of `python -m train pretrain`, not of finetune: choose another --run")
    try:
        labels = tuple(content["labels"]) if content["labels"] else None
        base = {name: content["base"][name] for name in ("source", "folder", "step", "hash")}
        return Record(
            from_json(content["training"]),
            DecoderConfig(**content["model"]),
            content["task"],
            labels,
            base,
            Identity(**content["identity"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged or of another version: {error}") from error


def base_of(was: Record) -> str:
    """Where a run's base is opened again: where it was, else as it was given."""
    folder = was.base["folder"]
    return folder if folder and Path(folder).is_dir() else was.base["source"]


def refuse_without_effect(task: str, config: FinetuneConfig) -> None:
    """Raises ValueError for a setting of another task's loss."""
    given = differences(dataclasses.asdict(ObjectiveConfig()), dataclasses.asdict(config.objective))
    if given and task != "dpo":
        raise ValueError(
            f"--preference, --beta and --sft-weight are for preferences, and these examples are for task {task} "
            f"({'; '.join(given)}): leave them out"
        )


def refuse_another_run(run: Path, now: Record, allow_changes: bool) -> Changes:
    """Raises ValueError, with both values, when a resume would not continue the same run.

    Another base, task, classes, LoRA or optimizer never fits the checkpoints. Other data, batch, tokenizer or seed do
    fit; they are refused unless `allow_changes`. Any other difference comes from a flag, and is returned to be printed.
    """
    was = read(run)
    if was.base["hash"] != now.base["hash"]:
        raise ValueError(
            f"{run} was begun from {was.base['source']}, and {now.base['source']} is another base: the hash of its "
            f"parameters is {now.base['hash'][:12]}…, not {was.base['hash'][:12]}…; give the base that the run was "
            "begun from, or start another run"
        )
    pairs = {
        "task": (was.task, now.task),
        "labels": (was.labels, now.labels),
        "lora": (was.config.lora, now.config.lora),
        "optimizer": (was.config.optimizer.optimizer, now.config.optimizer.optimizer),
        "objective": (was.config.objective, now.config.objective),
    }
    for name, (old, new) in pairs.items():
        if old != new:
            raise ValueError(
                f"{run} was begun with {name}={_plain(old)}; got {name}={_plain(new)}: start another run for that"
            )
    others = differences(dataclasses.asdict(was.identity), dataclasses.asdict(now.identity))
    if others and not allow_changes:
        raise ValueError(
            f"{run}: this would not go on with the same run ({'; '.join(others)}): restore the old values, or say "
            "--allow-changes"
        )
    before, after = to_dict(was.config), to_dict(now.config)
    numbers, rest = [*others], []
    for group in ("optimizer", "schedule", "execution"):
        numbers += differences(before[group], after[group])
    numbers += differences(before, after, ("steps", "micro_batch", "packing"))
    for group in ("mesh", "cadence"):
        rest += differences(before[group], after[group])
    return Changes(tuple(numbers), tuple(rest))


def _plain(value: Any) -> str:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return ", ".join(f"{name} {part}" for name, part in dataclasses.asdict(value).items())
    return str(value)
