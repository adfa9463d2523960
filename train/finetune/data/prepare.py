"""Examples made once: files → ids and masks in a folder, with a manifest.

A folder made from the same inputs (the contents of the files, the tokenizer, the template, the settings) is opened as
it is. A folder from other inputs is refused, naming what changed, or replaced if that is asked for.
"""

import hashlib
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from filelock import FileLock

from llm_jax.files import exchange, replacing_folder, write
from llm_jax.files.json_files import read_json, write_json
from llm_jax.tokenizer.hf_files.chat_templates import JINJA
from llm_jax.tokenizer.protocol import Tokenizer
from train.finetune.data.config import DataConfig
from train.finetune.data.decided_by import difference, inputs_of
from train.finetune.data.divide import for_validation, hash_of
from train.finetune.data.example import Labelled, Pair
from train.finetune.data.making import Made, Maker, OnRow
from train.finetune.data.prepared import AGAIN, MANIFEST, Counts, Prepared, manifest_of, open_prepared
from train.finetune.data.reading.read import tables
from train.finetune.data.reading.tables import Tables

logger = logging.getLogger(__name__)

Rows = list[tuple[int, Made]]  # number of the row, and the example
Changed = Literal["refuse", "replace", "beside"]


def prepare(
    config: DataConfig,
    tokenizer: Tokenizer,
    folder: Path,
    context_length: int,
    changed: Changed = "refuse",
    on_row: OnRow | None = None,
) -> Prepared:
    """Prepares the examples, or opens them where they were prepared of the same inputs.

    Args:
        config: what is read, and how.
        tokenizer: the model's, with its chat template.
        folder: where the examples lie, or will lie.
        context_length: of the model: no example has more tokens.
        changed: what is done with a folder of other inputs. "beside": it stays, and the examples are prepared in
            another folder beside it, until `adopt`.
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
    inputs = inputs_of(config, sources, tokenizer, max_length)
    if (found := _found(folder, inputs, changed)) is not None:
        return found
    if changed == "beside" and folder.exists():
        folder = _beside(folder)
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


def adopt(prepared: Prepared, folder: Path) -> None:
    """Puts examples that were prepared beside `folder` in its place; one process does this, once they are accepted."""
    if prepared.folder != folder:
        exchange(prepared.folder, folder)
    shutil.rmtree(_beside(folder), ignore_errors=True)  # of a change that was not accepted


def _beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-changed")


def _found(folder: Path, inputs: Mapping[str, Any], changed: Changed) -> Prepared | None:
    """The folder's examples, if they are of these inputs. Raises ValueError where something else is there.

    Unless they are refused, damaged examples and those of other inputs count as none.
    """
    if not (folder / MANIFEST).exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"{folder}: something else than prepared examples is there; name another folder")
        return None
    try:
        if differs := difference(read_json(folder / MANIFEST, AGAIN).get("inputs"), inputs):
            raise ValueError(
                f"{folder}: these examples were prepared with {differs}. Name another folder, or remove it"
            )
        return open_prepared(folder)
    except ValueError:
        if changed == "refuse":
            raise
        return None


def _read(config: DataConfig, sources: Mapping[str, Tables], maker: Maker, max_length: int) -> dict[str, Rows]:
    """All examples, divided. Raises ValueError where nothing is left, or --header names the columns of no table."""
    if config.header and not any(source.has_csv() for source in sources.values()):
        raise ValueError(
            f"--header {' '.join(config.header)}: no CSV or TSV table is read, and only such have none: leave it out"
        )
    train = list(maker.make(sources["train"]))
    val = list(maker.make(sources["val"])) if "val" in sources else []
    maker.end()
    hashes = [hash_of(example, config.data_seed) for _, example in train]
    maker.counts["duplicates"] = len(hashes) - len(set(hashes))
    if config.val_files:
        seen = set(hashes)
        shared = maker.counts["shared_with_val"] = sum(hash_of(example, config.data_seed) in seen for _, example in val)
        if shared and shared == len(val):
            logger.warning(
                "--val-data: --data holds all of its %s examples too, so validation measures what was memorised",
                f"{shared:,}",
            )
    else:
        chosen = for_validation(hashes, config.val_fraction)
        val = [row for row, is_val in zip(train, chosen, strict=True) if is_val]
        train = [row for row, is_val in zip(train, chosen, strict=True) if not is_val]
    for flag, rows, is_needed in (("--data", train, True), ("--val-data", val, bool(config.val_files))):
        if is_needed and not rows:
            raise ValueError(
                f"{flag}: no example is left of {maker.counts['read']:,} rows; {_why_none(maker, max_length)}"
            )
    for reason in maker.skipped:
        logger.warning("left out: %s", reason)
    return {"train": train} | ({"val": val} if val else {})


def _why_none(maker: Maker, max_length: int) -> str:
    """Why no row became an example, with the first row of each reason and the cure."""
    reasons = []
    if dropped := maker.counts["dropped"]:
        reasons.append(
            f"{dropped:,} had no target within {max_length:,} tokens, such as {maker.first_dropped}: raise "
            "--max-length, or shorten the prompts"
        )
    if maker.skipped:
        reasons.append(f"{len(maker.skipped):,} could not be used, such as {maker.skipped[0]}")
    return "; ".join(reasons)


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
        _check_labels(labels, numbers, splits, bool(inputs["val_data"]))
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
        ends=maker.ends,
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


def _check_labels(labels: Sequence[str], numbers: np.ndarray, splits: Mapping[str, Rows], has_val_data: bool) -> None:
    """Raises ValueError unless there are two classes, and training has them all."""
    if len(labels) < 2:
        raise ValueError(f"--data: every label is {labels[0]!r}; a classifier needs at least two classes")
    trained = {int(numbers[one.label]) for _, one in splits["train"] if isinstance(one, Labelled)}
    if unknown := [label for number, label in enumerate(labels) if number not in trained]:
        cure = "correct it, or choose another --data-seed or --val-fraction"
        if has_val_data:
            cure = "--data has no example of it: correct it in --val-data, or add examples to --data"
        raise ValueError(f"label {unknown[0]!r} is among the examples for validation and not for training; {cure}")
