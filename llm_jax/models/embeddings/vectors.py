"""Words with their vectors, and the text format of word2vec.c, which gensim, fastText and others read and write.

    2 3                        how many vectors, how many numbers in each
    king 0.5 0.1 -0.2
    queen 0.4 0.2 -0.1

The file is not trusted: its header is compared with what follows, and numbers that are not finite are refused.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from llm_jax.files import replacing

logger = logging.getLogger(__name__)
LONGEST_HEADER = 64  # bytes


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
        parts = file.readline(LONGEST_HEADER).split(b" ")
    parts = [part.strip() for part in parts]
    return (int(parts[0]), int(parts[1])) if len(parts) == 2 and all(part.isdigit() for part in parts) else None


def read(path: Path) -> Vectors:
    """Reads the text format.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is empty, has no header or one that does not fit, or a line is not a word and its numbers.
    """
    promised, size = header(path), path.stat().st_size
    if size == 0:
        raise ValueError(f"{path} is empty; expected vectors in word2vec's text format")
    if promised is None:
        raise ValueError(
            f"{path}: the first line is no header such as '10000 100' of word2vec's text format: put one there"
        )
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


def _fill(path: Path, number: int, line: bytes, row: np.ndarray) -> str:
    """Puts a line's numbers into `row`, and returns its word."""
    parts = line.strip(b"\r\n").rstrip(b" ").rsplit(b" ", len(row))
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
            f"{path}, line {number:,} is not a word and {len(row)} numbers, as the header says: get the file again"
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
