"""A run's folder, `runs/NAME`: what is in it, and the rules for starting anew and for going on.

config.json     model, training config, data and tokenizer: everything that identifies the run
tokenizer/      as the tokenizer saves itself
checkpoints/    see llm_jax.checkpoint
metrics.jsonl, tensorboard/, loss.png, samples.txt
"""

import dataclasses
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from llm_jax.tokenizer import Tokenizer
from train.config import RunOptions, TrainConfig, to_dict, train_config_from_dict
from train.data.files import read_json, write_json

FORMAT = 1
CONFIG = "config.json"
CHECKPOINTS = "checkpoints"
TOKENIZER = "tokenizer"


@dataclass(frozen=True)
class Identity:
    """What must not change under a run: with the step, it decides which tokens come next and what they mean."""

    data: str  # the manifest's fingerprint
    tokenizer: str  # the tokenizer's fingerprint, or its name where nobody wrote one down
    global_batch: int  # sequences
    context_length: int  # tokens
    seed: int


def folder_of(runs: Path, name: str) -> Path:
    """Raises ValueError for a name that is not a plain folder name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(f"a run's name is made of letters, digits, '.', '_' and '-'; got {name!r}")
    return runs / name


def decide_resume(where: RunOptions, run: Path) -> RunOptions:
    """Settles `auto_resume`. Raises FileExistsError for a run that would be overwritten, FileNotFoundError for none."""
    begun = (run / CONFIG).exists()
    if where.auto_resume:
        return dataclasses.replace(where, resume=begun)
    if begun and not where.resume:
        raise FileExistsError(
            f"{run} holds a run already: go on with it (--resume), choose another name (--run), or remove the folder"
        )
    if where.resume and not begun:
        raise FileNotFoundError(f"{run / CONFIG} does not exist: no run to resume; start it without --resume")
    return where


def create(run: Path, config: TrainConfig, identity: Identity, data: Path, vocabulary: Tokenizer | None) -> None:
    """Writes the tokenizer and then config.json: a folder with a config is a run."""
    run.mkdir(parents=True, exist_ok=True)
    if vocabulary:
        vocabulary.save(run / TOKENIZER, config.model.context_length)
    record = {
        "format": FORMAT,
        "model": dataclasses.asdict(config.model),
        "training": to_dict(config),
        "data": str(data),
        "identity": dataclasses.asdict(identity),
    }
    write_json(run / CONFIG, record)


def read(run: Path) -> tuple[TrainConfig, Identity]:
    """The config and identity a run began with. Raises FileNotFoundError or ValueError with the file's name."""
    path = run / CONFIG
    record = read_json(path)
    try:
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']}; this version reads format {FORMAT}")
        return train_config_from_dict(record["training"]), Identity(**record["identity"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged or of another version: {error}") from error


def refuse_another_run(run: Path, config: TrainConfig, identity: Identity, allow_changes: bool) -> None:
    """Raises ValueError, with both values, when a resume would go on with something else than what was begun.

    Another model or optimizer never fits a checkpoint. Other data, batch, tokenizer or seed fit, and `allow_changes`
    lets them: then they are announced.
    """
    was, began_as = read(run)
    pairs = {f.name: (getattr(was.model, f.name), getattr(config.model, f.name)) for f in dataclasses.fields(was.model)}
    pairs["optimizer"] = (was.optimizer.optimizer, config.optimizer.optimizer)
    for name, (old, new) in pairs.items():
        if old != new:
            raise ValueError(
                f"{run} was begun with {name}={old}; got {name}={new}: its checkpoints would not fit; start another run"
            )
    changes = [
        f"{field.name} was {getattr(began_as, field.name)}, is {getattr(identity, field.name)}"
        for field in dataclasses.fields(Identity)
        if getattr(began_as, field.name) != getattr(identity, field.name)
    ]
    if changes and not allow_changes:
        raise ValueError(
            f"{run}: this would not go on with the same run ({'; '.join(changes)}): restore the old values, or say "
            "--allow-changes"
        )
    for change in changes:
        print(f"resume: {change}: from here on the run sees other tokens than it would have", file=sys.stderr)
