"""What the headers of many shards say, without mapping any of them."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from train.data.shards import BareIds, TokenDtype, dtype_of, open_tokens, opened, read_header

THREADS = 16  # that open shards


class Size(NamedTuple):
    """How many ids a shard has, their type, and by what a later change of the file is noticed."""

    tokens: int
    dtype: TokenDtype
    stamp: list[int]


def size_of(path: Path, bare: BareIds = "none") -> Size:
    """What `open_tokens` would find, by the header alone: a tenth of its time. Raises as `open_tokens`."""
    if path.suffix != ".npy" and bare == "none":
        with opened(path) as file:
            n_tokens, form = read_header(path, file)
            return Size(n_tokens, form.dtype, stamp_of(os.fstat(file.fileno())))
    tokens = open_tokens(path, bare)
    return Size(len(tokens), dtype_of(tokens), stamp_of(path.stat()))


def stamp_of(status: os.stat_result) -> list[int]:
    """Size, inode and times: a file that was edited, swapped or copied anew has others."""
    return [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]


def sizes_of(paths: Sequence[Path], bare: BareIds = "none") -> list[Size]:
    """`size_of` for many shards. On a network's file system opening one is waiting, so several threads open them.

    Raises what the first faulty shard in the order of `paths` raises.
    """
    share = -(-len(paths) // THREADS)
    with ThreadPoolExecutor(THREADS) as pool:
        parts = pool.map(
            lambda start: [size_of(path, bare) for path in paths[start : start + share]],
            range(0, len(paths), share or 1),
        )
        return [size for part in parts for size in part]
