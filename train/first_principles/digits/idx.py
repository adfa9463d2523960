"""idx: the file format of MNIST (LeCun, Cortes & Burges 1998), read with every field checked.

    bytes 0–1   zero
    byte 2      type of the elements; 8 is unsigned bytes, the only one images and labels use
    byte 3      number of dimensions: 3 for images (count, rows, columns), 1 for labels
    then        the size of each dimension, four bytes, big-endian
    then        the elements

The first four bytes as one number are the "magic" by which the files are known: 2051 for images, 2049 for labels.
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

UNSIGNED_BYTES = 8
MOST_BYTES = 2**31  # A header may claim anything; MNIST's 60,000 images have 47 million.


def read(path: Path, dimensions: int) -> np.ndarray:
    """The array in an idx file, gzipped or not.

    Args:
        dimensions: 3 for images, 1 for labels.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another magic than expected, an empty or cut file, or one with more bytes than its header says.
    """
    content = _unpacked(path)
    kind = "images" if dimensions == 3 else "labels"
    if not content:
        raise ValueError(f"{path} is empty; expected an idx file of {kind}")
    magic, expected = int.from_bytes(content[:4], "big"), UNSIGNED_BYTES << 8 | dimensions
    if len(content) < 4 or magic != expected:
        raise ValueError(
            f"{path} begins with {magic}; an idx file of {kind} begins with {expected}: "
            f"is it another file, or images in place of labels?"
        )
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise ValueError(f"{path} is truncated: it ends within its header, after {len(content)} of {start} bytes")
    shape = tuple(int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions))
    promised, found = math.prod(shape), len(content) - start
    if found != promised:
        problem = "is truncated" if found < promised else "has bytes to spare"
        size = f"{' × '.join(map(str, shape))} = " if dimensions > 1 else ""
        raise ValueError(f"{path} {problem}: its header promises {size}{promised:,} elements; it has {found:,}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _unpacked(path: Path) -> bytes:
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
        raise ValueError(f"{path} unpacks to more than {MOST_BYTES:,} bytes; no set of digits is that large")
    return content
