"""Files of pairs: two sentences and how similar they are, as CSV without a header."""

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llm_jax.files.content import read_text

LEAST = 4  # pairs


@dataclass(frozen=True)
class Pairs:
    first: list[str]
    second: list[str]
    similarity: np.ndarray  # float32

    def __len__(self) -> int:
        return len(self.first)

    def rows(self, chosen: np.ndarray) -> "Pairs":
        """The pairs at these places."""
        return Pairs([self.first[i] for i in chosen], [self.second[i] for i in chosen], self.similarity[chosen])


def read(path: Path) -> Pairs:
    """Reads a file.

    Raises:
        OSError, ValueError: it cannot be read, a line has no two sentences and a number, or too few pairs differ.
    """
    first, second, similarity = [], [], []
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        for row in reader:
            if not row:
                continue
            score = float(row[2]) if len(row) == 3 else math.nan
            if not math.isfinite(score) or not (row[0].strip() and row[1].strip()):
                raise ValueError
            first.append(row[0])
            second.append(row[1])
            similarity.append(score)
    except (ValueError, csv.Error):
        raise ValueError(
            f"{path}, line {reader.line_num:,}: expected sentence,sentence,similarity without a header"
        ) from None
    if len(first) < LEAST or len(set(similarity)) < 2:
        raise ValueError(f"{path}: {len(first)} pairs of {len(set(similarity))} similarities; nothing can be learnt")
    return Pairs(first, second, np.array(similarity, np.float32))
