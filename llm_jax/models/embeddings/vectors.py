"""Words with their vectors, and the text format of word2vec.c, which gensim, fastText and others read and write.

    2 3                        how many vectors, how many numbers in each
    king 0.5 0.1 -0.2
    queen 0.4 0.2 -0.1

GloVe's files have no header: there the first lines say how many numbers follow a word. The file is not trusted: every
line is compared with the header or the first lines, and numbers that are not finite are refused.
"""

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from llm_jax.files import replacing

logger = logging.getLogger(__name__)
LONGEST_HEADER = 64  # bytes
FIRST_LINES, LONGEST_LINE = 20, 1 << 20  # looked at in a file without a header; bytes


@dataclass(frozen=True)
class Vectors:
    """Words and their vectors, float32 [V, D]; each word once."""

    words: tuple[str, ...]
    matrix: np.ndarray

    @cached_property
    def number(self) -> dict[str, int]:
        """Word → its row."""
        return {word: i for i, word in enumerate(self.words)}

    @cached_property
    def unit(self) -> np.ndarray:
        """The vectors divided by their lengths; zeros stay zeros."""
        length = np.linalg.norm(self.matrix, axis=1, keepdims=True)
        return self.matrix / np.maximum(length, 1e-12)

    def rows(self, words: Sequence[str]) -> list[int]:
        """The rows of the words. Raises ValueError for one that has no vector, with words that look alike."""
        for word in words:
            if word not in self.number:
                import difflib

                close = difflib.get_close_matches(word, self.words[:20_000], n=3)
                hint = f"; did you mean {', '.join(close)}?" if close else ""
                raise ValueError(f"no vector for {word!r} among {len(self.words):,} words{hint}")
        return [self.number[word] for word in words]


def write(path: Path, vectors: Vectors) -> None:
    """Writes the text format, whole or not at all. Raises ValueError for a word that it cannot hold."""
    for word in vectors.words:
        if not word or any(letter in word for letter in " \n\r"):
            raise ValueError(f"word2vec's text format cannot hold the word {word!r}: it divides by spaces and lines")
    with replacing(path) as file:
        file.write(f"{len(vectors.words)} {vectors.matrix.shape[1]}\n".encode())
        for word, row in zip(vectors.words, vectors.matrix.tolist(), strict=True):
            file.write(f"{word} {' '.join(f'{value:.9g}' for value in row)}\n".encode("utf-8", "surrogatepass"))


def header(path: Path) -> tuple[int, int] | None:
    """How many vectors and numbers the first line promises; None where it is no header of this format."""
    with path.open("rb") as file:
        return parse_header(file.readline(LONGEST_HEADER))


def parse_header(line: bytes) -> tuple[int, int] | None:
    """As `header`, of a file's first line."""
    parts = [part.strip() for part in line.split(b" ")]
    return (int(parts[0]), int(parts[1])) if len(parts) == 2 and all(part.isdigit() for part in parts) else None


def width_without_header(path: Path) -> int | None:
    """How many numbers follow each word in a file without a header; None where the first lines are no vectors."""
    with path.open("rb") as file:
        return parse_width([file.readline(LONGEST_LINE) for _ in range(FIRST_LINES)])


def parse_width(lines: Iterable[bytes]) -> int | None:
    """As `width_without_header`, of a file's first lines.

    Each line that is not empty is a word and the same number of numbers, two or more. Where all words are numbers too,
    the file is a text of numbers.
    """
    rows = [parts for line in lines if (parts := line.split())]
    widths, numbers = {len(row) - 1 for row in rows}, [_finite(part) for row in rows for part in row[1:]]
    if len(widths) != 1 or min(widths) < 2 or not all(numbers) or all(_finite(row[0]) for row in rows):
        return None
    return widths.pop()


def _finite(part: bytes) -> bool:
    try:
        return math.isfinite(float(part))
    except ValueError:
        return False


def read(path: Path) -> Vectors:
    """Reads the text format, with its header or without.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is empty, is no such file, has a header that does not fit, or a line is not a word and its
            numbers.
    """
    promised, size = header(path), path.stat().st_size
    if size == 0:
        raise ValueError(f"{path} is empty; expected vectors in word2vec's text format")
    if promised is None:
        return _without_repeats(path, *_read_without_header(path))
    count, width = promised
    if min(count, width) < 1 or count * (2 * width + 2) > size:
        raise ValueError(
            f"{path}: its header promises {count:,} vectors of {width:,} numbers, which do not fit into the file's "
            f"{size:,} bytes: it was cut short or edited; get it again"
        )
    words, matrix = [], np.empty((count, width), np.float32)
    with path.open("rb") as file:
        file.readline()
        for number, line in enumerate(file, start=2):
            if len(words) == count:
                if line.strip():
                    raise ValueError(
                        f"{path}: its header promises {count:,} vectors, and more follow in line {number:,}"
                    )
                continue
            words.append(_fill(path, number, line, matrix[len(words)]))
    if len(words) < count:
        raise ValueError(
            f"{path}: its header promises {count:,} vectors, and {len(words):,} follow: get the file again"
        )
    return _without_repeats(path, words, matrix)


def _read_without_header(path: Path) -> tuple[list[str], np.ndarray]:
    width = width_without_header(path)
    if width is None:
        raise ValueError(
            f"{path}: the first line is no header such as '10000 100' of word2vec's text format, and the first lines "
            "are not a word and its numbers each: these are no vectors"
        )
    with path.open("rb") as file:
        matrix = np.empty((sum(1 for line in file if line.strip()), width), np.float32)
        file.seek(0)
        lines = ((number, line) for number, line in enumerate(file, start=1) if line.strip())
        return [_fill(path, number, line, row) for (number, line), row in zip(lines, matrix, strict=True)], matrix


def _fill(path: Path, number: int, line: bytes, row: np.ndarray) -> str:
    """Puts a line's numbers into `row`, and returns its word."""
    parts = line.rsplit(None, len(row))  # a word may hold spaces: some of GloVe's do
    try:
        word = parts[0].decode()
    except UnicodeDecodeError:
        raise ValueError(
            f"{path}, line {number:,} is not UTF-8: word2vec's binary form is not read; save the vectors as text"
        ) from None
    try:
        if len(parts) != len(row) + 1 or not word:
            raise ValueError
        with np.errstate(over="ignore"):  # becomes infinite, which is refused below
            row[:] = [float(part) for part in parts[1:]]
    except ValueError:
        raise ValueError(
            f"{path}, line {number:,} is not a word and {len(row)} numbers, as the header or the first lines say: "
            "get the file again"
        ) from None
    if not np.isfinite(row).all():
        raise ValueError(
            f"{path}, line {number:,}: the vector of {word!r} has numbers that are not finite: train it again"
        )
    return word


def _without_repeats(path: Path, words: Iterable[str], matrix: np.ndarray) -> Vectors:
    first: dict[str, int] = {}
    for i, word in enumerate(words):
        first.setdefault(word, i)
    if len(first) < len(matrix):
        logger.warning("%s: %d words are there twice; the first vector of each is used", path, len(matrix) - len(first))
        matrix = matrix[list(first.values())]
    return Vectors(tuple(first), matrix)
