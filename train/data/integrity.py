"""Checks that the shards hold the tokens that the manifest describes, before the first training step.

Header and size of every shard are read each time. Its hash and its largest id need every byte once, in one pass on
all cores (about 1 GB/s on each); what was found is kept in `.examined.json` beside the shards, under the file's size,
inode and times of modification and change. A shard that was swapped, edited or copied anew has other values and is
read again, so a changed byte is seen at the next start while 20 GB of unchanged shards cost nothing. (The change time
cannot be set back by a program, unlike the modification time.) `python -m train verify` ignores these notes and
reads everything.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llm_jax.files.json_files import read_json, write_json
from llm_jax.tokenizer.hf_files.tokenizer_json import TOKENIZER_JSON
from llm_jax.tokenizer.pretrained import load
from llm_jax.tokenizer.protocol import Tokenizer
from train.data import manifest as manifests
from train.data.manifest import Manifest, Shard
from train.data.shards import BareIds, ShardError, dtype_of, open_tokens
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
    folder: Path, vocab_size: int | None = None, on_bytes: OnBytes | None = None, bare: BareIds = "none"
) -> Manifest:
    """The manifest of a folder whose every shard has been checked: what a training run opens.

    Without a manifest.json one is derived, and ids must be below `vocab_size` (None: `assumed_vocabulary`); with one,
    its own vocab_size rules.
    `bare`: the type of the ids in a folder whose .bin files have no headers.
    Raises FileNotFoundError or ValueError (ShardError) naming the first file at fault, what was found, what was
    expected, the cure.
    """
    refuse_bare(folder, bare, vocab_size)
    if (folder / manifests.FILE_NAME).exists():
        manifest = manifests.read(folder)
        facts = examine_all([manifest.path(shard) for shard in manifest.shards], folder / NOTES, on_bytes)
    else:
        names = manifests.shard_names(folder)
        facts = examine_all([folder / name for name in names], folder / NOTES, on_bytes, bare)
        hashes = {name: facts[folder / name].sha256 for name in names}
        manifest = derived(folder, hashes, vocab_size, bare)
    for shard in manifest.shards:
        check(shard, facts[manifest.path(shard)], manifest)
    return manifest


def check(shard: Shard, facts: Facts, manifest: Manifest) -> None:
    """Raises ShardError if what a shard holds is not what the manifest says of it."""
    path, again = manifest.path(shard), "Copy it back, or prepare the text again."
    if (dtype := dtype_of(open_tokens(path, manifest.bare))) != manifest.dtype:
        raise ShardError(path, f"ids of {dtype}", f"{manifest.dtype}, as in the manifest", again)
    if facts.tokens != shard.tokens:
        raise ShardError(path, f"{facts.tokens:,} tokens", f"{shard.tokens:,}, as in the manifest", again)
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
    """What `verify` says of one shard; `fault` is empty if it is sound."""

    name: str
    split: str
    facts: Facts | None  # None if it could not be read through
    fault: str = ""


def verify(
    folder: Path, vocab_size: int | None = None, on_bytes: OnBytes | None = None, bare: BareIds = "none"
) -> list[Verdict]:
    """Reads every byte of every shard and goes on after a fault. Raises only if there is nothing to verify.

    `vocab_size` as in `open_data`. Without a manifest, the first shard that can be opened decides the type of the ids.
    """
    refuse_bare(folder, bare, vocab_size)
    manifest = manifests.read(folder) if (folder / manifests.FILE_NAME).exists() else None

    def judge(name: str) -> Verdict:
        facts, split = None, listed[name].split if manifest else split_of(name)
        try:
            facts = examine(folder / name, on_bytes, bare)
            if manifest:
                check(listed[name], facts, manifest)
            else:
                dtype = common_dtype(folder, [first or name, name], bare)
                _check_ids(folder / name, facts, vocab_size or assumed_vocabulary(dtype, bare), bare)
        except (ValueError, OSError) as error:
            return Verdict(name, split, facts, str(error))
        return Verdict(name, split, facts)

    listed = {shard.name: shard for shard in manifest.shards} if manifest else {}
    names = list(listed) if manifest else manifests.shard_names(folder)
    first = next((name for name in names if _can_be_opened(folder / name, bare)), None)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(judge, names))


def _can_be_opened(path: Path, bare: BareIds) -> bool:
    try:
        open_tokens(path, bare)
    except (ValueError, OSError):
        return False
    return True


def verify_tokenizer(folder: Path) -> str:
    """What is wrong with the tokenizer beside a manifest; empty if nothing is, or if one of the two is absent."""
    try:
        if (folder / manifests.FILE_NAME).exists():
            tokenizer_beside(manifests.read(folder))
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def tokenizer_beside(manifest: Manifest) -> Tokenizer | None:
    """The tokenizer that lies beside the shards, None if there is none. Raises ValueError, also for another one."""
    path = manifest.folder / TOKENIZER_JSON
    if not path.exists():
        return None
    tokenizer = load(path)
    refuse_other_tokenizer(manifest, tokenizer)
    return tokenizer


def refuse_other_tokenizer(manifest: Manifest, tokenizer: Tokenizer) -> None:
    """Raises ValueError unless the data was made with this tokenizer: with another one, bits per byte, samples and an
    export would be of another text."""
    data, again = manifest.tokenizer, f"Copy back the {TOKENIZER_JSON} it was prepared with, or prepare the text again."
    # Of shards of others nothing but the name is known.
    known, found = (
        (data.name, tokenizer.name) if data.fingerprint is None else (data.fingerprint, tokenizer.fingerprint)
    )
    if known != found:
        raise ValueError(
            f"{manifest.folder}: prepared with tokenizer {data.name!r} (sha256 {data.fingerprint}); found "
            f"{tokenizer.name!r} (sha256 {tokenizer.fingerprint}). {again}"
        )
    if data.vocab_size != tokenizer.vocab_size:
        raise ValueError(
            f"{manifest.folder / manifests.FILE_NAME}: vocab_size {data.vocab_size:,}; expected "
            f"{tokenizer.vocab_size:,}, as tokenizer {tokenizer.name!r} has. The manifest was edited. {again}"
        )


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
    paths: Iterable[Path], notes: Path, on_bytes: OnBytes | None = None, bare: BareIds = "none"
) -> Mapping[Path, Facts]:
    """`examine` for many shards, on all cores, skipping those that `notes` knows unchanged."""
    paths, known = list(paths), _read_notes(notes)
    facts: dict[Path, Facts] = {}
    for path in paths:
        tokens = open_tokens(path, bare)  # header and size are cheap: every shard fails here before any is read through
        if path.name in known and known[path.name]["stamp"] == _stamp(path):
            noted = Facts(**known[path.name]["facts"])
            if noted.tokens == len(tokens):  # not of the same file read with another --token-dtype
                facts[path] = noted
    unread = [path for path in paths if path not in facts]
    stamps = {path: _stamp(path) for path in unread}  # taken before reading: a change meanwhile shows next time
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        facts.update(zip(unread, pool.map(lambda path: examine(path, on_bytes, bare), unread), strict=True))
    if unread:
        known.update({path.name: {"stamp": stamps[path], "facts": asdict(facts[path])} for path in unread})
        _write_notes(notes, known)
    return facts


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]


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
