"""Decompresses a file block by block. Several compressed streams in one file are read one after another."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK_BYTES = 1 << 20

_OPEN: dict[str | None, Any] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open, None: open}
_OF_ARROW = {"zstandard": "zstd", "lz4": "lz4"}


def unpacked(path: Path, compression: str | None) -> Iterator[bytes]:
    """Decompressed blocks of about a megabyte.

    Raises:
        ValueError: the file is damaged; names it.
        OSError: it cannot be read.
    """
    damaged: tuple[type[Exception], ...] = (EOFError, zlib.error, lzma.LZMAError, OSError)
    try:
        if compression in _OF_ARROW:
            import pyarrow

            damaged = (*damaged, pyarrow.ArrowException)
            with path.open("rb") as raw, pyarrow.CompressedInputStream(raw, _OF_ARROW[compression]) as file:
                while block := file.read(BLOCK_BYTES):
                    yield block
            return
        with _OPEN[compression](path, "rb") as file:
            while block := file.read(BLOCK_BYTES):
                yield block
    except damaged as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise ValueError(f"{path}: {compression} file that is damaged or cut short ({error}); copy it again") from None
