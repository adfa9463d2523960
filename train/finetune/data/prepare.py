"""Examples made once: files → ids and masks in a folder, with a manifest.

A folder made from the same inputs (the contents of the files, the tokenizer, the template, the settings) is opened as
it is. A folder from other inputs is refused, naming what changed, or replaced if that is asked for.
"""

import dataclasses
import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from filelock import FileLock

from llm_jax.files import replacing_folder, write
from llm_jax.files.json_files import read_json, write_json
from llm_jax.tokenizer.hf_files.chat_templates import JINJA
from llm_jax.tokenizer.protocol import Tokenizer
from train.finetune.data.config import TEMPLATES, DataConfig
from train.finetune.data.divide import for_validation, hash_of
from train.finetune.data.example import Labelled, Pair
from train.finetune.data.making import Made, Maker, OnRow
from train.finetune.data.prepared import AGAIN, MANIFEST, Counts, Prepared, manifest_of, open_prepared
from train.finetune.data.reading.read import tables
from train.finetune.data.reading.tables import Tables

logger = logging.getLogger(__name__)

Rows = list[tuple[int, Made]]  # number of the row, and the example
BY_CONTENT = ("files", "val_files")  # settings that the hashes of the files stand for


def prepare(
    config: DataConfig,
    tokenizer: Tokenizer,
    folder: Path,
    context_length: int,
    changed: Literal["refuse", "replace"] = "refuse",
    on_row: OnRow | None = None,
) -> Prepared:
    """Prepares the examples, or opens them where they were prepared of the same inputs.

    Args:
        config: what is read, and how.
        tokenizer: the model's, with its chat template.
        folder: where the examples lie, or will lie.
        context_length: of the model: no example has more tokens.
        changed: what is done with a folder of other inputs.
        on_row: called for every row that was read.

    Raises:
        ValueError: something in the files cannot be used; the folder has other inputs; nothing is left to train on.
        OSError: a file cannot be read or written.
    """
    max_length = config.max_length or context_length
    if max_length > context_length:
        raise ValueError(
            f"--max-length {max_length:,} exceeds the model's context of {context_length:,} tokens: lower it"
        )
    sources = {"train": tables(config)} | ({"val": tables(config, for_validation=True)} if config.val_files else {})
    inputs = _inputs(config, sources, tokenizer, max_length)
    if (found := _found(folder, inputs, changed)) is not None:
        return found
    maker = Maker(config, tokenizer, max_length, on_row)
    splits = _read(config, sources, maker, max_length)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):  # several processes of one run prepare the same
        if (found := _found(folder, inputs, changed)) is not None:
            return found
        with replacing_folder(folder) as scratch:
            _write(scratch, maker, splits, tokenizer, max_length, inputs)
        return open_prepared(folder)


def _found(folder: Path, inputs: Mapping[str, Any], changed: Literal["refuse", "replace"]) -> Prepared | None:
    """The folder's examples, if they are of these inputs. Raises ValueError where something else is there.

    With "replace", damaged examples and those of other inputs count as none.
    """
    if not (folder / MANIFEST).exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"{folder}: something else than prepared examples is there; name another folder")
        return None
    try:
        difference = _difference(read_json(folder / MANIFEST, AGAIN).get("inputs"), inputs)
        if difference:
            raise ValueError(
                f"{folder}: these examples were prepared with {difference}. Name another folder, or remove it"
            )
        return open_prepared(folder)
    except ValueError:
        if changed == "refuse":
            raise
        return None


def _read(config: DataConfig, sources: Mapping[str, Tables], maker: Maker, max_length: int) -> dict[str, Rows]:
    """All examples, divided. Raises ValueError where nothing is left."""
    train = list(maker.make(sources["train"]))
    val = list(maker.make(sources["val"])) if "val" in sources else []
    maker.end()
    hashes = [hash_of(example, config.data_seed) for _, example in train]
    maker.counts["duplicates"] = len(hashes) - len(set(hashes))
    if config.val_files:
        seen = set(hashes)
        maker.counts["shared_with_val"] = sum(hash_of(example, config.data_seed) in seen for _, example in val)
    else:
        chosen = for_validation(hashes, config.val_fraction)
        val = [row for row, is_val in zip(train, chosen, strict=True) if is_val]
        train = [row for row, is_val in zip(train, chosen, strict=True) if not is_val]
    for flag, rows, is_needed in (("--data", train, True), ("--val-data", val, bool(config.val_files))):
        if is_needed and not rows:
            read, dropped = maker.counts["read"], maker.counts["dropped"]
            raise ValueError(
                f"{flag}: no example is left of {read:,} rows; {dropped:,} had no target within {max_length:,} tokens, "
                f"{len(maker.skipped):,} could not be used. Raise --max-length, or look at one with --show 1"
            )
    for reason in maker.skipped:
        logger.warning("left out: %s", reason)
    return {"train": train} | ({"val": val} if val else {})


def _write(
    folder: Path,
    maker: Maker,
    splits: Mapping[str, Rows],
    tokenizer: Tokenizer,
    max_length: int,
    inputs: Mapping[str, Any],
) -> None:
    labels, numbers = maker.numbered_labels()
    if maker.kind == "labelled":
        _check_labels(labels, numbers, splits)
    wide = np.uint32 if tokenizer.vocab_size > 1 << 16 else np.uint16
    counts = {name: _write_split(folder / f"{name}.safetensors", rows, wide, numbers) for name, rows in splits.items()}
    template = maker.template
    if template is not None and template.text is not None:
        write(folder / JINJA, template.text)
    borders = tokenizer.borders
    pad = next((number for number in (borders.pad, borders.end) if number is not None), 0)
    prepared = Prepared(
        folder=folder,
        kind=maker.kind,
        tokenizer={"name": tokenizer.name, "fingerprint": tokenizer.fingerprint, "vocab_size": tokenizer.vocab_size},
        template=None if template is None else {"name": template.name, "fingerprint": template.fingerprint},
        max_length=max_length,
        pad_id=pad,
        labels=labels,
        counts=dict(sorted(maker.counts.items())),
        splits=counts,
        inputs=inputs,
    )
    write_json(folder / MANIFEST, manifest_of(prepared))


def _write_split(path: Path, rows: Rows, dtype: type[np.unsignedinteger], numbers: np.ndarray) -> Counts:
    from safetensors.numpy import save

    examples = [example for _, example in rows]
    sequences = [one for example in examples for one in (example if isinstance(example, Pair) else (example,))]
    lengths = np.array([len(one.ids) for one in sequences], np.int64)
    masks = [np.zeros(len(one.ids), bool) if isinstance(one, Labelled) else one.trained for one in sequences]
    trained = np.concatenate(masks)
    arrays = {
        "ids": np.concatenate([one.ids for one in sequences]).astype(dtype),
        "trained": np.packbits(trained),
        "starts": np.concatenate([[0], np.cumsum(lengths)]),
        "rows": np.array([row for row, _ in rows], np.int64),
    }
    if isinstance(examples[0], Labelled):
        arrays["labels"] = numbers[[one.label for one in examples if isinstance(one, Labelled)]]
    content = save(arrays)
    write(path, content)
    digest = hashlib.sha256(content).hexdigest()
    return Counts(len(examples), int(lengths.sum()), int(trained.sum()), int(lengths.max()), digest)


def _check_labels(labels: Sequence[str], numbers: np.ndarray, splits: Mapping[str, Rows]) -> None:
    """Raises ValueError unless there are two classes, and training has them all."""
    if len(labels) < 2:
        raise ValueError(f"--data: every label is {labels[0]!r}; a classifier needs at least two classes")
    trained = {int(numbers[one.label]) for _, one in splits["train"] if isinstance(one, Labelled)}
    if unknown := [label for number, label in enumerate(labels) if number not in trained]:
        raise ValueError(
            f"label {unknown[0]!r} is among the examples for validation and not for training; correct it, or choose "
            "another --data-seed or --val-fraction"
        )


def _inputs(config: DataConfig, sources: Mapping[str, Tables], tokenizer: Tokenizer, max_length: int) -> dict[str, Any]:
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


def _difference(before: Any, now: Mapping[str, Any]) -> str:
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
