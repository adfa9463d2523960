"""The token shard: a kilobyte of header, then token ids of two or four bytes each.

    256 little-endian int32    magic, version, number of tokens, then zeros
    n little-endian ids        uint16 with magic 20240520 and version 1; uint32 with magic 20240801 and version 7

These are the two formats of llm.c (Karpathy 2024): for GPT-2 and, for vocabularies over 65,536, for Llama 3. So its
shards and modded-nanogpt's can be trained on here and ours there. build-nanogpt's shards, bare `.npy` arrays of uint16
(or uint32), are read too. nanoGPT's files are token ids and nothing else: they are read where the user says so, and how
wide an id is. A shard is memory-mapped and never loaded: 100M tokens cost address space, and only the windows in use
are read from disk.
"""

import mmap
import os
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np

TokenDtype = Literal["uint16", "uint32"]
BareIds = Literal["none", "uint16", "uint32"]  # the type of the ids in .bin files without headers


class ShardFormat(NamedTuple):
    """How llm.c writes ids of one width."""

    dtype: TokenDtype
    token: np.dtype
    magic: int
    version: int
    largest_vocabulary: int  # batches are int32, so of uint32 one bit is not used


FORMATS: dict[TokenDtype, ShardFormat] = {
    "uint16": ShardFormat("uint16", np.dtype("<u2"), 20240520, 1, 1 << 16),
    "uint32": ShardFormat("uint32", np.dtype("<u4"), 20240801, 7, 1 << 31),
}
HEADER_INTS = 256
HEADER_BYTES = 4 * HEADER_INTS
MOST_TOKENS = (1 << 31) - 1  # that the header can count
SUFFIXES = (".bin", ".npy")


class ShardError(ValueError):
    """A shard that must not be trained on; the message names the file, what was found, what was expected, and the
    cure."""

    def __init__(self, path: Path, found: str, expected: str, cure: str):
        super().__init__(f"{path}: {found}; expected {expected}. {cure}")


def dtype_for(vocab_size: int) -> TokenDtype:
    """The narrowest type that holds every id of a vocabulary. Raises ValueError where none does."""
    for dtype, form in FORMATS.items():
        if vocab_size <= form.largest_vocabulary:
            return dtype
    most = FORMATS["uint32"].largest_vocabulary
    raise ValueError(f"a vocabulary of {vocab_size:,} ids; token shards hold at most {most:,}, in four bytes an id")


def fitted(ids: np.ndarray, vocab_size: int) -> np.ndarray:
    """Unsigned `ids` in the type that shards of this vocabulary have. Raises ValueError for an id outside it."""
    if len(ids) and (largest := int(ids.max())) >= vocab_size:
        raise ValueError(f"token id {largest:,}; expected ids below the vocabulary's {vocab_size:,}")
    return ids.astype(FORMATS[dtype_for(vocab_size)].token, casting="same_kind", copy=False)


def dtype_of(tokens: np.ndarray) -> TokenDtype:
    """The name of the type of ids from `open_tokens`."""
    return "uint16" if tokens.itemsize == 2 else "uint32"


def write_header(file: BinaryIO, n_tokens: int, dtype: TokenDtype = "uint16") -> None:
    """Writes the 1,024 bytes that precede `n_tokens` ids."""
    header = np.zeros(HEADER_INTS, dtype="<i4")
    header[:3] = FORMATS[dtype].magic, FORMATS[dtype].version, n_tokens
    file.write(header.tobytes())


def open_tokens(path: Path, bare: BareIds = "none") -> np.ndarray:
    """Memory-maps a shard and returns its ids [tokens], read-only; uint16 or uint32, as its header says or, where it
    has none, `bare`. Costs no more than reading the header.

    Raises FileNotFoundError, or ShardError for a wrong magic, version, size or token width.
    """
    if path.suffix != ".npy" and bare == "none":
        return _open_bin(path)
    if not path.is_file():
        raise _missing(path)
    return _open_npy(path) if path.suffix == ".npy" else _open_bare(path, np.dtype(bare).newbyteorder("<"))


def _missing(path: Path) -> FileNotFoundError:
    return FileNotFoundError(f"{path}: shard is missing; copy it back, or prepare the data again")


def read_at_random(tokens: np.ndarray) -> np.ndarray:
    """Tells the kernel that windows of these mapped ids are read in no order. Returns the ids.

    It would otherwise read ahead, which for one window of two kilobytes may be 8 MB (`read_ahead_kb` of the disk).
    """
    base: Any = tokens
    while base is not None and not isinstance(base, mmap.mmap):
        base = base.obj if isinstance(base, memoryview) else getattr(base, "base", None)
    if base is not None and hasattr(mmap, "MADV_RANDOM"):  # not on Windows
        base.madvise(mmap.MADV_RANDOM)
    return tokens


def _open_bin(path: Path) -> np.ndarray:
    with opened(path) as file:
        n_tokens, form = read_header(path, file)
        # Not np.memmap: it takes five times as long to open, and its own slicing costs microseconds a window.
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(mapped, form.token, n_tokens, HEADER_BYTES)


def opened(path: Path) -> FileIO:
    """A shard's file, unbuffered. Raises FileNotFoundError with the cure."""
    try:
        return FileIO(path)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise _missing(path) from None


def read_header(path: Path, file: FileIO) -> tuple[int, ShardFormat]:
    """Number of ids and their format, compared with the file's size. Raises ShardError."""
    header, size = file.read(HEADER_BYTES), os.fstat(file.fileno()).st_size
    if len(header) < HEADER_BYTES:
        raise ShardError(
            path,
            f"{len(header)} bytes",
            f"a header of {HEADER_BYTES} bytes",
            f"Truncated: copy or prepare it again. {BARE_CURE}",
        )
    magic, version, n_tokens = (int.from_bytes(header[4 * i : 4 * i + 4], "little", signed=True) for i in range(3))
    form = _format_of(magic)
    if form is None:
        expected = " or ".join(f"{form.magic} ({form.dtype})" for form in FORMATS.values())
        cure = f"This is no token shard: prepare the text with `python -m train prepare`. {BARE_CURE}"
        raise ShardError(path, f"magic {magic}", expected, cure)
    if version != form.version:
        expected = f"{form.version}, which magic {magic} ({form.dtype}) has"
        raise ShardError(path, f"version {version}", expected, "Convert it, or prepare the text again.")
    _check_size(path, n_tokens, form, size - HEADER_BYTES)
    return n_tokens, form


def _format_of(magic: int) -> ShardFormat | None:
    return next((form for form in FORMATS.values() if form.magic == magic), None)


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
    if size >= HEADER_BYTES and _format_of(int(ids[:2].view("<i4")[0])):
        raise ShardError(path, "a shard with a header", "bare token ids", "Leave out --token-dtype.")
    first = ids[:4096]
    if kind.itemsize == 2 and len(first) >= 8 and not first[1::2].any() and first.any():
        raise ShardError(
            path, "a zero in every second place", "ids of two bytes each", "The ids are wider: --token-dtype uint32."
        )
    return ids


def _check_size(path: Path, n_tokens: int, form: ShardFormat, size: int) -> None:
    """`size`: bytes behind the header."""
    width = form.token.itemsize
    if n_tokens < 1:
        raise ShardError(path, f"{n_tokens} tokens in the header", "at least 1", "Prepare it again.")
    other = 6 - width  # the other of 2 and 4
    if size == other * n_tokens:
        raise ShardError(
            path,
            f"{other} bytes a token ({size:,} bytes for {n_tokens:,} tokens)",
            f"{width} bytes a token ({form.dtype}), as its header declares",
            f"{'Truncated, or ids of another type: write' if other < width else 'Write'} the tokens as {form.dtype}, "
            "or prepare the text again.",
        )
    if size != width * n_tokens:
        short = "Truncated" if size < width * n_tokens else "Something was appended"
        raise ShardError(
            path,
            f"{size:,} bytes of tokens",
            f"{width * n_tokens:,} for the {n_tokens:,} tokens in its header",
            f"{short}: copy or prepare it again.",
        )


def _open_npy(path: Path) -> np.ndarray:
    try:
        tokens = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ShardError(
            path,
            f"no readable array ({error})",
            "a .npy file of uint16 or uint32",
            "Truncated or changed: copy it again.",
        ) from error
    if tokens.dtype not in [form.token for form in FORMATS.values()] or tokens.ndim != 1 or not tokens.size:
        raise ShardError(
            path,
            f"{tokens.dtype} of shape {tokens.shape}",
            "uint16 or uint32 of shape (tokens,)",
            "Save it with `np.save(path, tokens.astype(np.uint16))`; np.uint32 for a vocabulary over 65,536.",
        )
    return tokens.view(np.ndarray)
