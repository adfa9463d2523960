"""Checks that the shards hold the tokens that the manifest describes, before the first training step.

Header and size of every shard are read each time. Its hash and its largest id need every byte once, in one pass on
all cores (about 1 GB/s on each); what was found is kept in `.examined.json` beside the shards, under the file's size,
inode and times of modification and change. A shard that was swapped, edited or copied anew has other values and is
read again, so a changed byte is seen at the next start while 20 GB of unchanged shards cost nothing. (The change time
cannot be set back by a program, unlike the modification time.) `python -m train verify` ignores these notes and
reads everything, or a sample. Where everything is 30 TB, a run may ask for a sample, too (`most`).
"""

import hashlib
import os
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llm_jax.files.json_files import read_json, write_json
from train.data import manifest as manifests
from train.data.manifest import Manifest, Shard
from train.data.shards import BareIds, ShardError, open_tokens
from train.data.sizes import Size, size_of, sizes_of
from train.data.without_manifest import assumed_vocabulary, common_dtype, derived, refuse_bare, split_of

NOTES = ".examined.json"
CHUNK_BYTES = 1 << 23
MOST_IDS = 1 << 20  # no tokenizer has as many

OnBytes = Callable[[int], None]  # called with the number of bytes just read


@dataclass(frozen=True)
class Facts:
    """What one pass over a shard finds."""

    tokens: int
    sha256: str  # of the whole file
    largest_id: int


def open_data(
    folder: Path,
    vocab_size: int | None = None,
    on_bytes: OnBytes | None = None,
    bare: BareIds = "none",
    most: int | None = None,
) -> Manifest:
    """The manifest of a folder whose every shard has been checked: what a training run opens.

    Without a manifest.json one is derived, and ids must be below `vocab_size` (None: `assumed_vocabulary`); with one,
    its own vocab_size rules.
    `bare`: the type of the ids in a folder whose .bin files have no headers.
    `most`: how many shards without notes are read through, chosen at random; None: all. Header and size of the others
    are checked all the same. A folder without a manifest is always read through, because its hashes are its identity.
    Raises FileNotFoundError or ValueError (ShardError) naming the first file at fault, what was found, what was
    expected, the cure.
    """
    refuse_bare(folder, bare, vocab_size)
    if (folder / manifests.FILE_NAME).exists():
        manifest = manifests.read(folder)
        paths = [manifest.path(shard) for shard in manifest.shards]
        sizes = sizes_of(paths)
        facts = examine_all(paths, sizes, folder / NOTES, on_bytes, most=most)
    else:
        names = manifests.shard_names(folder)
        paths = [folder / name for name in names]
        sizes = sizes_of(paths, bare)
        facts = examine_all(paths, sizes, folder / NOTES, on_bytes, bare)
        hashes = {name: facts[folder / name].sha256 for name in names}
        manifest = derived(folder, hashes, vocab_size, bare)
    for shard, path, size in zip(manifest.shards, paths, sizes, strict=True):
        check_size(shard, size, manifest)
        if path in facts:
            check(shard, facts[path], manifest)
    return manifest


def check_size(shard: Shard, size: Size, manifest: Manifest) -> None:
    """Raises ShardError if type and number of a shard's ids are not what the manifest says."""
    path, again = manifest.path(shard), "Copy it back, or prepare the text again."
    if size.dtype != manifest.dtype:
        raise ShardError(path, f"ids of {size.dtype}", f"{manifest.dtype}, as in the manifest", again)
    if size.tokens != shard.tokens:
        raise ShardError(path, f"{size.tokens:,} tokens", f"{shard.tokens:,}, as in the manifest", again)


def check(shard: Shard, facts: Facts, manifest: Manifest) -> None:
    """Raises ShardError if the contents of a shard are not what the manifest says."""
    path, again = manifest.path(shard), "Copy it back, or prepare the text again."
    if facts.sha256 != shard.sha256:
        twin = next((other.name for other in manifest.shards if other.sha256 == facts.sha256), None)
        found = f"the contents of {twin}" if twin else f"sha256 {facts.sha256}"
        cure = f"The files were swapped: rename {path.name} to {twin}." if twin else f"The file was changed. {again}"
        raise ShardError(path, found, f"sha256 {shard.sha256}, as in the manifest", cure)
    _check_ids(path, facts, manifest.tokenizer.vocab_size, manifest.bare)


def _check_ids(path: Path, facts: Facts, vocab_size: int, bare: BareIds) -> None:
    if facts.largest_id >= vocab_size:
        cure = "Give the tokenizer's own --vocab-size, or prepare the text again."
        if bare == "uint32" and facts.largest_id >= MOST_IDS:
            cure = "No vocabulary is that large: two ids of two bytes are read as one. Say --token-dtype uint16."
        raise ShardError(path, f"token id {facts.largest_id:,}", f"ids below the vocabulary's {vocab_size:,}", cure)


@dataclass(frozen=True)
class Verdict:
    """What `verify` says of one shard; `fault` is empty if none was found."""

    name: str
    split: str
    facts: Facts | None  # None if it could not, or should not, be read through
    fault: str = ""


def verify(
    folder: Path,
    vocab_size: int | None = None,
    on_bytes: OnBytes | None = None,
    bare: BareIds = "none",
    sample: int = 0,
) -> list[Verdict]:
    """Reads every byte of every shard and goes on after a fault. Raises only if there is nothing to verify.

    `vocab_size` as in `open_data`. Without a manifest, the first shard that can be opened decides the type of the ids.
    `sample`: reads so many through, chosen at random, and of the others header and size; 0: all.
    """
    refuse_bare(folder, bare, vocab_size)
    manifest = manifests.read(folder) if (folder / manifests.FILE_NAME).exists() else None

    def judge(name: str) -> Verdict:
        facts, split = None, listed[name].split if manifest else split_of(name)
        try:
            size = size_of(folder / name, bare)
            facts = examine(folder / name, on_bytes, bare) if name in chosen else None
            if manifest:
                check_size(listed[name], size, manifest)
            if facts and manifest:
                check(listed[name], facts, manifest)
            elif facts:
                dtype = common_dtype(folder, [first or name, name], bare)
                _check_ids(folder / name, facts, vocab_size or assumed_vocabulary(dtype, bare), bare)
        except (ValueError, OSError) as error:
            return Verdict(name, split, facts, str(error))
        return Verdict(name, split, facts)

    listed = {shard.name: shard for shard in manifest.shards} if manifest else {}
    names = list(listed) if manifest else manifests.shard_names(folder)
    chosen = set(random.sample(names, sample) if 0 < sample < len(names) else names)
    first = next((name for name in names if _can_be_opened(folder / name, bare)), None)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(judge, names))


def _can_be_opened(path: Path, bare: BareIds) -> bool:
    try:
        open_tokens(path, bare)
    except (ValueError, OSError):
        return False
    return True


def examine(path: Path, on_bytes: OnBytes | None = None, bare: BareIds = "none") -> Facts:
    """Reads a whole shard once: token count, sha256 of the file, largest id. Raises as `open_tokens`."""
    tokens = open_tokens(path, bare)
    digest, largest = hashlib.sha256(), 0
    with path.open("rb") as file:
        digest.update(file.read(path.stat().st_size - tokens.nbytes))  # the header
        while block := file.read(CHUNK_BYTES):
            digest.update(block)
            largest = max(largest, int(np.frombuffer(block, tokens.dtype).max()))
            if on_bytes:
                on_bytes(len(block))
    return Facts(len(tokens), digest.hexdigest(), largest)


def examine_all(
    paths: Sequence[Path],
    sizes: Sequence[Size],
    notes: Path,
    on_bytes: OnBytes | None = None,
    bare: BareIds = "none",
    most: int | None = None,
) -> Mapping[Path, Facts]:
    """`examine` for many shards of known sizes, on all cores, skipping those that `notes` knows unchanged.

    `most`: how many of the others are examined, chosen at random; None: all.
    """
    known = _read_notes(notes)
    facts: dict[Path, Facts] = {}
    for path, size in zip(paths, sizes, strict=True):
        if path.name in known and known[path.name]["stamp"] == size.stamp:
            noted = Facts(**known[path.name]["facts"])
            if noted.tokens == size.tokens:  # not of the same file read with another --token-dtype
                facts[path] = noted
    unread = [path for path in paths if path not in facts]
    if most is not None and most < len(unread):
        unread = random.sample(unread, most)
    # The stamps were taken before reading: a change meanwhile shows next time.
    stamps = {path: size.stamp for path, size in zip(paths, sizes, strict=True)}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        facts.update(zip(unread, pool.map(lambda path: examine(path, on_bytes, bare), unread), strict=True))
    if unread:
        known.update({path.name: {"stamp": stamps[path], "facts": asdict(facts[path])} for path in unread})
        _write_notes(notes, known)
    return facts


def _read_notes(notes: Path) -> dict:
    try:
        known = read_json(notes)
    except (OSError, ValueError, RecursionError):
        return {}  # no notes, or damaged ones: everything is read again
    return {name: note for name, note in known.items() if _is_note(note)} if isinstance(known, dict) else {}


def _is_note(value: Any) -> bool:
    try:
        manifests.typed(Facts, value["facts"])
        return isinstance(value["stamp"], list)
    except (KeyError, TypeError):
        return False


def _write_notes(notes: Path, known: dict) -> None:
    try:
        write_json(notes, known)
    except OSError:
        return  # a read-only data folder is fine: the next start reads it again
