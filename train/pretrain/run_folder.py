"""The rules for beginning a run and for going on with one. The names inside its folder are in `llm_jax.runs`."""

import dataclasses
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from llm_jax.files import replacing_folder
from llm_jax.files.json_files import write_json
from llm_jax.runs import CONFIG, FORMAT, TOKENIZER, read_config
from llm_jax.tokenizer import Tokenizer
from train.pretrain.config import RunOptions, TrainConfig, to_dict, train_config_from_dict

PATHS = ("data", "reference", "hellaswag")  # of RunOptions: what a run reads


@dataclass(frozen=True)
class Identity:
    """What must stay the same during a run: together with the step it determines the next tokens and their meaning."""

    data: str  # the manifest's fingerprint
    tokenizer: str  # the tokenizer's fingerprint, or its name where the data has no fingerprint
    global_batch: int  # sequences
    context_length: int  # tokens
    seed: int


@dataclass(frozen=True)
class Changes:
    """Settings that differ from the run's last start, each as "name old → new"."""

    numbers: tuple[str, ...] = ()  # these change the trained parameters
    rest: tuple[str, ...] = ()  # these change only what is measured, saved or printed, when and on which devices


UNCHANGED = Changes()


class Resumable(Protocol):
    """Options of a command whose runs can go on."""

    @property
    def resume(self) -> bool: ...
    @property
    def auto_resume(self) -> bool: ...


Where = TypeVar("Where", bound=Resumable)


def decide_resume(where: Where, run: Path) -> Where:
    """Settles `auto_resume`. Raises FileExistsError for a run that would be overwritten, FileNotFoundError for none."""
    begun = (run / CONFIG).exists()
    if where.auto_resume:
        return dataclasses.replace(cast(Any, where), resume=begun)
    if begun and not where.resume:
        raise FileExistsError(
            f"{run} holds a run already: go on with it (--resume), choose another name (--run), or remove the folder"
        )
    if where.resume and not begun:
        raise FileNotFoundError(f"{run / CONFIG} does not exist: no run to resume; start it without --resume")
    return where


def save(
    run: Path, config: TrainConfig, identity: Identity, where: RunOptions, vocabulary: Tokenizer | None = None
) -> None:
    """Writes config.json (a folder with one is a run) and, where it is another or missing, the tokenizer.

    At whatever instant this is interrupted, the tokenizer is the one that config.json names, or is not there; the next
    start then writes it.
    """
    run.mkdir(parents=True, exist_ok=True)
    if not (run / CONFIG).exists() or read(run)[1].tokenizer != identity.tokenizer:
        shutil.rmtree(run / TOKENIZER, ignore_errors=True)
    paths = {name: getattr(where, name) for name in PATHS}
    record = {
        "format": FORMAT,
        "model": dataclasses.asdict(config.model),
        "training": to_dict(config),
        **{name: path and str(path) for name, path in paths.items()},
        "token_dtype": where.token_dtype,
        "identity": dataclasses.asdict(identity),
    }
    write_json(run / CONFIG, record)
    if vocabulary and not (run / TOKENIZER).exists():
        with replacing_folder(run / TOKENIZER) as scratch:
            vocabulary.save(scratch, config.model.context_length)


def read(run: Path) -> tuple[TrainConfig, Identity]:
    """The config and identity of a run's last start. Raises FileNotFoundError or ValueError with the file's name."""
    path, record = run / CONFIG, read_config(run)
    try:
        return train_config_from_dict(record["training"]), Identity(**record["identity"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged or of another version: {error}") from error


def read_paths(run: Path) -> dict[str, Any]:
    """What the run's last start read, by names of RunOptions."""
    record = read_config(run)
    paths = {name: Path(record[name]) for name in PATHS if record.get(name)}
    return {**paths, "token_dtype": record.get("token_dtype", "none")}


def refuse_another_run(run: Path, config: TrainConfig, identity: Identity, allow_changes: bool) -> Changes:
    """Raises ValueError, with both values, when a resume would not continue the same run.

    Another model or optimizer never fits the checkpoints. Other data, batch, tokenizer or seed do fit; they are refused
    unless `allow_changes`. Any other difference (learning rate, number of steps, …) comes from a flag that the user
    gave, and is accepted. Returns every accepted difference, for the caller to print.
    """
    was, began_as = read(run)
    pairs = {f.name: (getattr(was.model, f.name), getattr(config.model, f.name)) for f in dataclasses.fields(was.model)}
    pairs["optimizer"] = (was.optimizer.optimizer, config.optimizer.optimizer)
    for name, (old, new) in pairs.items():
        if old != new:
            raise ValueError(
                f"{run} was begun with {name}={old}; got {name}={new}: its checkpoints would not fit; start another run"
            )
    others = differences(dataclasses.asdict(began_as), dataclasses.asdict(identity))
    if others and not allow_changes:
        raise ValueError(
            f"{run}: this would not go on with the same run ({'; '.join(others)}): restore the old values, or say "
            "--allow-changes"
        )
    before, now = to_dict(was), to_dict(config)
    numbers, rest = [*others], []
    for group in ("optimizer", "schedule", "execution"):
        numbers += differences(before[group], now[group])
    numbers += differences(before, now, ("steps", "micro_batch"))
    for group in ("mesh", "cadence"):
        rest += differences(before[group], now[group])
    return Changes(tuple(numbers), tuple(rest))


def differences(before: dict[str, Any], now: dict[str, Any], names: Iterable[str] | None = None) -> list[str]:
    """ "name old → new" of every value that is another; of `names`, or of all that are in `now`."""
    return [f"{name} {before[name]} → {now[name]}" for name in names or now if before[name] != now[name]]
