"""Prepared examples on disk, opened and checked.

    manifest.json          what they are made of, and a hash of every file
    train.safetensors      ids, one example after the other; where each begins; which tokens are trained, a bit each;
    val.safetensors        for labelled texts the number of the class; for each the number of its row
    chat_template.jinja    the template that wrote them, if one did

Of preferences, example i is the sequences 2·i (chosen) and 2·i + 1 (rejected).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from llm_jax.files.json_files import read_json
from llm_jax.tokenizer.hf_files.chat_templates import JINJA
from train.finetune.data.config import Kind
from train.finetune.data.example import Example, Labelled, Pair

MANIFEST = "manifest.json"
FORMAT_VERSION = 1
AGAIN = "remove the folder to prepare the examples again"
SPLITS = ("train", "val")


SAID = {  # by the names of `Prepared.counts`
    "skipped": "rows skipped",
    "dropped": "dropped, for truncation left no target or no difference between two answers",
    "truncated": "cut at the longest length",
    "unanswered": "messages behind a last answer left out",
    "equal_pairs": "pairs of equal answers, which teach nothing",
    "duplicates": "that --data holds more than once",
    "shared_with_val": "of --val-data that --data holds too",
}


@dataclass(frozen=True)
class Counts:
    """Of one split."""

    examples: int
    tokens: int
    trained: int  # tokens
    longest: int  # tokens
    sha256: str  # of its file


class Arrays:
    """The sequences of one split in memory."""

    def __init__(self, path: Path):
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            found = load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path}: damaged or cut short ({error}); {AGAIN}") from None
        self.ids, self.starts = found["ids"], found["starts"]
        self.trained = np.unpackbits(found["trained"], count=len(self.ids)).astype(bool)
        self.rows = found["rows"]
        self.labels = found.get("labels")

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each sequence."""
        return np.diff(self.starts)

    def sequence(self, number: int) -> Example:
        here = slice(int(self.starts[number]), int(self.starts[number + 1]))
        return Example(self.ids[here].astype(np.int32), self.trained[here])


@dataclass(frozen=True)
class Prepared:
    """A folder of prepared examples.

    `counts` says what happened to the rows: `read`; `skipped` (unusable); `dropped` (truncation left nothing to learn);
    `truncated` (sequences that were cut); `unanswered` (messages left out behind the last answer); `equal_pairs`;
    `duplicates` (examples that --data holds again); `shared_with_val` (examples of --val-data that --data holds too).
    """

    folder: Path
    kind: Kind
    tokenizer: Mapping[str, Any]  # name, fingerprint, vocab_size
    template: Mapping[str, Any] | None  # name, fingerprint
    max_length: int
    pad_id: int
    labels: tuple[str, ...]  # of labelled texts: the names of the classes, by their number
    counts: Mapping[str, int]
    splits: Mapping[str, Counts]
    inputs: Mapping[str, Any]  # what decides all of this
    ends: tuple[int, ...] = ()  # ids that end an answer; older manifests do not name them
    _arrays: dict[str, Arrays] = field(default_factory=dict, repr=False, compare=False)

    @property
    def fingerprint(self) -> str:
        """sha256 over the contents of the splits: the identity of the examples."""
        contents = [[name, self.splits[name].sha256] for name in SPLITS if name in self.splits]
        return hashlib.sha256(json.dumps([self.kind, list(self.labels), contents]).encode()).hexdigest()

    @property
    def chat_template(self) -> str | None:
        """The template that wrote the examples, as Jinja."""
        path = self.folder / JINJA
        return path.read_text(encoding="utf8") if path.is_file() else None

    def count(self, split: str) -> int:
        """How many examples a split has; 0 for one that is not there."""
        return self.splits[split].examples if split in self.splits else 0

    def said(self) -> list[str]:
        """What happened to the rows that are not as they were, in words."""
        return [f"{count:,} {said}" for name, said in SAID.items() if (count := self.counts.get(name))]

    def arrays(self, split: str) -> Arrays:
        """Raises ValueError where there is no such split."""
        if split not in self.splits:
            raise ValueError(f"{self.folder}: no split {split!r}; raise --val-fraction, or give --val-data")
        if split not in self._arrays:
            self._arrays[split] = Arrays(self.folder / f"{split}.safetensors")
        return self._arrays[split]

    def lengths(self, split: str) -> np.ndarray:
        """Tokens of each example, of a pair those of the longer answer: int64 [examples]."""
        lengths = self.arrays(split).lengths
        return lengths.reshape(-1, 2).max(axis=1) if self.kind == "preferences" else lengths

    def example(self, split: str, number: int) -> Example | Pair | Labelled:
        """One example of a split."""
        arrays = self.arrays(split)
        if self.kind == "preferences":
            return Pair(arrays.sequence(2 * number), arrays.sequence(2 * number + 1))
        sequence = arrays.sequence(number)
        if arrays.labels is None:
            return sequence
        return Labelled(sequence.ids, int(arrays.labels[number]))

    def row(self, split: str, number: int) -> int:
        """Which row of the files, from 0, the example was made of."""
        return int(self.arrays(split).rows[number])


def open_prepared(folder: Path) -> Prepared:
    """Opens what `prepare` wrote. Raises FileNotFoundError, or ValueError that names the file at fault."""
    path = folder / MANIFEST
    content = read_json(path, AGAIN)
    if content.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path}: format_version {content.get('format_version')!r}; expected {FORMAT_VERSION}: {AGAIN}"
        )
    try:
        splits = {name: Counts(**content["splits"][name]) for name in SPLITS if name in content["splits"]}
        fields = {
            name: content[name]
            for name in ("kind", "tokenizer", "template", "max_length", "pad_id", "counts", "inputs")
        }
        labels, ends = tuple(content["labels"]), tuple(content.get("ends", ()))
        prepared = Prepared(folder=folder, labels=labels, splits=splits, ends=ends, **fields)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: a field is missing or no longer what it was ({error}); it was edited: {AGAIN}"
        ) from None
    for name, counts in splits.items():
        _check(prepared, name, counts)
    return prepared


def _check(prepared: Prepared, split: str, counts: Counts) -> None:
    """Raises ValueError unless the file holds what the manifest says."""
    path = prepared.folder / f"{split}.safetensors"
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != counts.sha256:
        raise ValueError(
            f"{path}: sha256 {found}; expected {counts.sha256}, as in {MANIFEST}. The file was changed: {AGAIN}"
        )
    arrays = prepared.arrays(split)
    if len(arrays.ids) and int(arrays.ids.max()) >= prepared.tokenizer["vocab_size"]:
        raise ValueError(f"{path}: an id beyond the vocabulary's {prepared.tokenizer['vocab_size']:,}; {AGAIN}")


def manifest_of(prepared: Prepared) -> dict[str, Any]:
    """The content of manifest.json."""
    return {
        "format_version": FORMAT_VERSION,
        "kind": prepared.kind,
        "tokenizer": dict(prepared.tokenizer),
        "template": dict(prepared.template) if prepared.template else None,
        "max_length": prepared.max_length,
        "pad_id": prepared.pad_id,
        "ends": list(prepared.ends),
        "labels": list(prepared.labels),
        "counts": dict(prepared.counts),
        "splits": {name: asdict(counts) for name, counts in prepared.splits.items()},
        "inputs": dict(prepared.inputs),
    }
