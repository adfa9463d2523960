"""`manifest.json`: what a folder of token shards is made of.

    format_version    1
    tokenizer         name, fingerprint (sha256), vocab_size
    dtype             "uint16", or "uint32" for a vocabulary over 65,536
    source            where the text came from, and the settings that shaped the shards
    splits            for train and val: documents, bytes of text, tokens
    shards            for each: name, split, tokens, sha256 of the whole file (as `sha256sum` prints it)
    left_out          where something was: what of the input, and how many

The order of the shards is the order of the data. Nothing in the file depends on when, where or with how many
processes it was made, so preparing the same text twice gives the same bytes.

A folder of llm.c's, build-nanogpt's or nanoGPT's shards has none: `without_manifest.py`.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from llm_jax.files.json_files import read_json, write_json
from train.data.shards import FORMATS, SUFFIXES, BareIds, TokenDtype

FILE_NAME = "manifest.json"
FORMAT_VERSION = 1
SPLITS = ("val", "train")
UNFINISHED = ".prepare"  # folder of a preparation that is under way, or was interrupted


@dataclass(frozen=True)
class Tokenizer:
    """Which tokenizer made the ids; `fingerprint` is None where nobody wrote it down."""

    name: str
    fingerprint: str | None
    vocab_size: int  # ids are below it


@dataclass(frozen=True)
class Split:
    """How much text a split holds; None where nobody counted. Bits per byte need tokens / bytes."""

    tokens: int
    documents: int | None
    bytes: int | None  # UTF-8, without the special tokens between documents


@dataclass(frozen=True)
class Shard:
    name: str  # file name, inside the manifest's folder
    split: str  # "train" or "val"
    tokens: int
    sha256: str  # of the whole file


@dataclass(frozen=True)
class Manifest:
    folder: Path  # where the shards are; not written to the file
    tokenizer: Tokenizer
    source: dict[str, Any]
    splits: dict[str, Split]
    shards: tuple[Shard, ...]
    left_out: dict[str, int] = field(default_factory=dict)  # {"documents without text": 3}
    dtype: TokenDtype = "uint16"  # of the ids in every shard
    bare: BareIds = "none"  # type of the ids where the shards have no headers; such a folder has no manifest.json

    @property
    def fingerprint(self) -> str:
        """sha256 over splits, order and contents of the shards: the identity of the token stream, whatever the files
        are called."""
        contents = [[shard.split, shard.tokens, shard.sha256] for shard in self.shards]
        return hashlib.sha256(json.dumps(contents).encode()).hexdigest()

    def of_split(self, split: str) -> tuple[Shard, ...]:
        """The shards of "train" or "val", in the order of the data; raises ValueError if there is none."""
        shards = tuple(shard for shard in self.shards if shard.split == split)
        if not shards:
            cure = "Name one file ...val..., or prepare the text with a validation share." if split == "val" else ""
            raise ValueError(f"{self.folder}: no shard for {split!r} among {len(self.shards)}. {cure}".rstrip())
        return shards

    def path(self, shard: Shard) -> Path:
        return self.folder / shard.name

    def save(self) -> Path:
        """Writes manifest.json beside the shards, atomically."""
        path = self.folder / FILE_NAME
        write_json(
            path,
            {
                "format_version": FORMAT_VERSION,
                "tokenizer": asdict(self.tokenizer),
                "dtype": self.dtype,
                "source": self.source,
                "splits": {name: asdict(split) for name, split in self.splits.items()},
                "shards": [asdict(shard) for shard in self.shards],
                **({"left_out": self.left_out} if self.left_out else {}),
            },
        )
        return path


def read(folder: Path) -> Manifest:
    """Reads `folder/manifest.json`. Does not look at the shards: see `integrity`.

    Raises ValueError naming the field for another format version, a missing field, a wrong type, numbers that cannot
    be, or a name that leaves the folder.
    """
    path = folder / FILE_NAME
    fields = read_json(path)
    try:
        if fields["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"{path}: format_version {fields['format_version']}; expected {FORMAT_VERSION}. "
                "Prepare the text again, or use the release that made it."
            )
        if fields["dtype"] not in list(FORMATS):
            raise ValueError(f"{path}: dtype {fields['dtype']!r}; expected {_either()}. Prepare the text again.")
        manifest = Manifest(
            folder=folder,
            tokenizer=typed(Tokenizer, fields["tokenizer"]),
            source=fields["source"] | {},  # TypeError unless it is an object
            splits={name: typed(Split, split) for name, split in fields["splits"].items()},
            shards=tuple(typed(Shard, shard) for shard in fields["shards"]),
            left_out=fields.get("left_out", {}) | {},
            dtype=fields["dtype"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: field missing or of a wrong type ({error!r}); prepare the text again") from error
    _check_names(path, manifest)
    _check_numbers(path, manifest)
    return manifest


def shard_names(folder: Path) -> list[str]:
    """Sorted names of the shards that lie in a folder. Raises FileNotFoundError, or ValueError for an unfinished
    folder."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; make it with `python -m train prepare --out {folder}`")
    if (folder / UNFINISHED).exists() and not (folder / FILE_NAME).exists():
        raise ValueError(
            f"{folder}: its preparation was interrupted; run the same `python -m train prepare` again to finish it"
        )
    names = sorted(path.name for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file())
    if not names:
        raise FileNotFoundError(
            f"{folder}: no shard (*.bin, *.npy); make some with `python -m train prepare --out {folder}`"
        )
    return names


def typed(kind: type, fields: dict[str, Any]) -> Any:
    """Builds a dataclass from JSON, refusing what its annotations do not allow."""
    value = kind(**fields)
    for name, annotation in kind.__annotations__.items():
        found = getattr(value, name)
        if not isinstance(found, annotation) or isinstance(found, bool):
            raise TypeError(f"{kind.__name__.lower()}.{name} is {found!r}")
    return value


def _either() -> str:
    return " or ".join(map(repr, FORMATS))


def _check_names(path: Path, manifest: Manifest) -> None:
    folder = manifest.folder.resolve()
    # To resolve a name costs a look at every folder above it. Only links and `..` can lead elsewhere.
    with os.scandir(folder) as entries:
        leading_elsewhere = {"", "..", *(entry.name for entry in entries if entry.is_symlink())}
    seen = set()
    for shard in manifest.shards:
        name = shard.name
        # `./x.bin` would be a second name of `x.bin`, and no file system takes a zero byte.
        if os.path.basename(name) != name or name == "." or not name.isprintable():
            raise ValueError(
                f"{path}: shard {name!r} is no plain file name; expected the name of a file in "
                f"{manifest.folder}. Copy the shard there, or do not trust this manifest."
            )
        if name in leading_elsewhere:
            file = (folder / name).resolve()
            if file.parent != folder:
                raise ValueError(
                    f"{path}: shard {name!r} lies outside the folder of its manifest; expected a file name in "
                    f"{manifest.folder}. Copy the shard there, or do not trust this manifest."
                )
            name = file.name
        if shard.split not in SPLITS:
            raise ValueError(f"{path}: shard {shard.name!r} has split {shard.split!r}; expected one of {SPLITS}")
        if name in seen:
            raise ValueError(f"{path}: shard {shard.name!r} is listed twice; expected once. Prepare the text again.")
        seen.add(name)


def _check_numbers(path: Path, manifest: Manifest) -> None:
    """The counts go together; those of the shards are held against the files in `integrity`."""
    again = "It was edited or cut short: copy it back, or prepare the text again."
    if not manifest.shards:
        raise ValueError(f"{path}: lists no shard; expected at least one. {again}")
    most = FORMATS[manifest.dtype].largest_vocabulary
    if not 1 <= manifest.tokenizer.vocab_size <= most:
        raise ValueError(
            f"{path}: vocab_size {manifest.tokenizer.vocab_size}; expected 1 to {most:,}, which {manifest.dtype} can "
            f"hold. {again}"
        )
    of_shards: dict[str, int] = {}
    for shard in manifest.shards:
        if shard.tokens < 1:
            raise ValueError(f"{path}: shard {shard.name!r} has {shard.tokens} tokens; expected at least 1. {again}")
        of_shards[shard.split] = of_shards.get(shard.split, 0) + shard.tokens
    of_splits = {name: split.tokens for name, split in manifest.splits.items()}
    if of_splits != of_shards:
        raise ValueError(f"{path}: tokens of splits {of_splits}; expected {of_shards}, which its shards have. {again}")
    for name, split in manifest.splits.items():
        for what, count in (("documents", split.documents), ("bytes", split.bytes)):
            if count is not None and count < 0:
                raise ValueError(f"{path}: splits.{name}.{what} is {count}; expected none below 0. {again}")
