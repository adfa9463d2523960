"""Reads idx, the file format of MNIST (LeCun, Cortes & Burges 1998), and checks every field.

    bytes 0–1   zero
    byte 2      type of the elements; 8 is unsigned bytes, the only one images and labels use
    byte 3      number of dimensions: 3 for images (count, rows, columns), 1 for labels
    then        the size of each dimension, four bytes, big-endian
    then        the elements

The first four bytes as one number are the file's magic number: 2051 for images, 2049 for labels.
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

UNSIGNED_BYTES = 8
MOST_BYTES = 2**31  # of a decompressed file; MNIST's 60,000 images have 47 million


def read(path: Path, dimensions: int) -> np.ndarray:
    """The array in an idx file, gzipped or not.

    Args:
        dimensions: 3 for images, 1 for labels.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the magic number is another one, or the file is empty, truncated or longer than its header says.
    """
    content = _decompressed(path)
    kind = "images" if dimensions == 3 else "labels"
    if not content:
        raise ValueError(f"{path} is empty; expected an idx file of {kind}")
    magic, expected = int.from_bytes(content[:4], "big"), UNSIGNED_BYTES << 8 | dimensions
    if len(content) < 4 or magic != expected:
        raise ValueError(
            f"{path} begins with {magic}, but an idx file of {kind} begins with {expected}: "
            f"is it another file, or were images and labels exchanged?"
        )
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise ValueError(f"{path} is truncated: it ends within its header, after {len(content)} of {start} bytes")
    shape = tuple(int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions))
    in_header, in_file = math.prod(shape), len(content) - start
    if in_file != in_header:
        problem = "is truncated" if in_file < in_header else "is too long"
        size = f"{' × '.join(map(str, shape))} = " if dimensions > 1 else ""
        raise ValueError(f"{path} {problem}: its header says {size}{in_header:,} elements; it has {in_file:,}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _decompressed(path: Path) -> bytes:
    with path.open("rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
    if not is_gzip:
        return path.read_bytes()
    try:
        with gzip.open(path) as file:
            content = file.read(MOST_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is truncated or damaged: {error}") from None
    if len(content) > MOST_BYTES:
        raise ValueError(f"{path} decompresses to more than {MOST_BYTES:,} bytes; no set of digits is that large")
    return content
