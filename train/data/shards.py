"""The token shard: a kilobyte of header, then token ids of two bytes each.

    256 little-endian int32    magic 20240520, version 1, number of tokens, then zeros
    n little-endian uint16     token ids

This is the format of llm.c (Karpathy 2024) and of modded-nanogpt, so their shards can be trained on here and ours
there. build-nanogpt's shards, bare `.npy` arrays of uint16, are read too. A shard is memory-mapped and never loaded:
100M tokens cost address space, and only the windows in use are read from disk. llm.c's second format, four-byte
tokens for Llama 3 (magic 20240801), is left out: GPT-2's 50,257 ids fit into two bytes. nanoGPT's files are token ids
and nothing else: they are read where the user says so, and how wide an id is.
"""

from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

MAGIC = 20240520
VERSION = 1
HEADER_INTS = 256
HEADER_BYTES = 4 * HEADER_INTS
TOKEN = np.dtype("<u2")
LARGEST_VOCABULARY = 1 << 16  # ids that two bytes can hold
MOST_TOKENS = (1 << 31) - 1  # that the header can count
SUFFIXES = (".bin", ".npy")

BareIds = Literal["none", "uint16", "uint32"]  # the type of the ids in .bin files without headers


class ShardError(ValueError):
    """A shard that must not be trained on; the message names the file, what was found, what was expected, and the
    cure."""

    def __init__(self, path: Path, found: str, expected: str, cure: str):
        super().__init__(f"{path}: {found}; expected {expected}. {cure}")


def write_header(file: BinaryIO, n_tokens: int) -> None:
    """Writes the 1,024 bytes that precede `n_tokens` ids."""
    header = np.zeros(HEADER_INTS, dtype="<i4")
    header[:3] = MAGIC, VERSION, n_tokens
    file.write(header.tobytes())


def open_tokens(path: Path, bare: BareIds = "none") -> np.ndarray:
    """Memory-maps a shard and returns its ids [tokens], read-only; uint16 but for `bare` ones of four bytes. Costs no
    more than reading the header.

    Raises FileNotFoundError, or ShardError for a wrong magic, version, size or token width.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: shard is missing; copy it back, or prepare the data again")
    if path.suffix == ".npy":
        return _open_npy(path)
    return _open_bin(path) if bare == "none" else _open_bare(path, np.dtype(bare).newbyteorder("<"))


def _open_bin(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        header = np.frombuffer(file.read(HEADER_BYTES), dtype=np.uint8)
    if len(header) < HEADER_BYTES:
        raise ShardError(
            path,
            f"{len(header)} bytes",
            f"a header of {HEADER_BYTES} bytes",
            f"Truncated: copy or prepare it again. {BARE_CURE}",
        )
    magic, version, n_tokens = map(int, header.view("<i4")[:3])
    if magic != MAGIC:
        raise ShardError(path, f"magic {magic}", f"{MAGIC}", _cure_for_magic(magic))
    if version != VERSION:
        raise ShardError(path, f"version {version}", f"{VERSION}", "Convert it, or prepare the text again.")
    _check_size(path, n_tokens)
    # A plain ndarray: np.memmap's own slicing costs microseconds a window. The array keeps the mapping alive.
    return np.memmap(path, dtype=TOKEN, mode="r", offset=HEADER_BYTES, shape=(n_tokens,)).view(np.ndarray)


def _cure_for_magic(magic: int) -> str:
    if magic == 20240801:
        return "This is llm.c's format of four-byte tokens (Llama 3): prepare the text with GPT-2's tokenizer."
    return f"This is no token shard: prepare the text with `python -m train prepare`. {BARE_CURE}"


BARE_CURE = (
    "If it holds token ids without a header, as nanoGPT's train.bin does, say --token-dtype uint16 (or uint32) and "
    "--vocab-size N."
)


def _open_bare(path: Path, kind: np.dtype) -> np.ndarray:
    size = path.stat().st_size
    if not size or size % kind.itemsize:
        raise ShardError(
            path, f"{size:,} bytes", f"ids of {kind.itemsize} bytes each", "Truncated, or another --token-dtype."
        )
    ids = np.memmap(path, dtype=kind, mode="r").view(np.ndarray)
    if size >= HEADER_BYTES and int(ids[:2].view("<i4")[0]) == MAGIC:
        raise ShardError(path, "a shard with a header", "bare token ids", "Leave out --token-dtype.")
    first = ids[:4096]
    if kind.itemsize == 2 and len(first) >= 8 and not first[1::2].any() and first.any():
        raise ShardError(
            path, "a zero in every second place", "ids of two bytes each", "The ids are wider: --token-dtype uint32."
        )
    return ids


def _check_size(path: Path, n_tokens: int) -> None:
    size = path.stat().st_size - HEADER_BYTES
    if n_tokens < 1:
        raise ShardError(path, f"{n_tokens} tokens in the header", "at least 1", "Prepare it again.")
    if size == 4 * n_tokens:
        raise ShardError(
            path,
            f"4 bytes a token ({size:,} bytes for {n_tokens:,} tokens)",
            "2 bytes a token (uint16), as its header declares",
            "Write the tokens as uint16, or prepare the text again.",
        )
    if size != 2 * n_tokens:
        short = "Truncated" if size < 2 * n_tokens else "Something was appended"
        raise ShardError(
            path,
            f"{size:,} bytes of tokens",
            f"{2 * n_tokens:,} for the {n_tokens:,} tokens in its header",
            f"{short}: copy or prepare it again.",
        )


def _open_npy(path: Path) -> np.ndarray:
    try:
        tokens = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ShardError(
            path, f"no readable array ({error})", "a .npy file of uint16", "Truncated or changed: copy it again."
        ) from error
    if tokens.dtype != TOKEN or tokens.ndim != 1 or not tokens.size:
        raise ShardError(
            path,
            f"{tokens.dtype} of shape {tokens.shape}",
            "uint16 of shape (tokens,)",
            "Save it with `np.save(path, tokens.astype(np.uint16))`.",
        )
    return tokens.view(np.ndarray)
