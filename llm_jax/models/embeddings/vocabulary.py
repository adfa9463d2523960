"""Words and their counts, and what word2vec.c makes of them (Mikolov et al. 2013b, §2.2 and 2.3).

A word is what stands between white space. Texts in scripts without spaces must be cut into words first. Unlike
word2vec.c, the end of a line is no word here: it ends a sentence, and no window reaches across it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

TABLE_SIZE = 10_000_000  # of the table of negatives; word2vec.c has ten times as many
POWER = 0.75


@dataclass(frozen=True)
class Vocabulary:
    """Words, the most frequent first, and how often each occurs."""

    words: tuple[str, ...]
    counts: np.ndarray  # int64 [V]

    def __len__(self) -> int:
        return len(self.words)

    def kept(self, subsample: float) -> np.ndarray:
        """The probability that an occurrence of each word is kept: (√(f/t) + 1)·t/f, at most 1; f the word's share.

        This is the formula of word2vec.c; the paper's is 1 − √(t/f) for leaving out.
        """
        if subsample == 0:
            return np.ones(len(self))
        share = self.counts / self.counts.sum()
        return np.minimum((np.sqrt(share / subsample) + 1) * subsample / share, 1.0)

    def negatives(self) -> np.ndarray:
        """The probability that each word is drawn as a negative: count^0.75 over the sum."""
        power = self.counts.astype(np.float64) ** POWER
        return power / power.sum()

    def table(self, size: int = TABLE_SIZE) -> np.ndarray:
        """word2vec.c's table: each word fills a share equal to its probability, so a random entry is a draw."""
        edges = np.cumsum(self.negatives())
        places = (np.arange(min(size, max(100 * len(self), 100_000))) + 0.5) / min(size, max(100 * len(self), 100_000))
        return np.minimum(np.searchsorted(edges, places), len(self) - 1).astype(np.int32)


def count(sentences: Iterable[Sequence[str]], min_count: int) -> Vocabulary:
    """The vocabulary of sentences, which are lists of words.

    Raises:
        ValueError: fewer than two words occur often enough; there would be nothing to tell apart.
    """
    counts: Counter[str] = Counter()
    for sentence in sentences:
        counts.update(sentence)
    if not counts:
        raise ValueError("the text holds no word: words are what stands between white space")
    chosen = sorted(((n, word) for word, n in counts.items() if n >= min_count), key=lambda pair: (-pair[0], pair[1]))
    if len(chosen) < 2:
        raise ValueError(
            f"{len(chosen)} of {len(counts):,} different words occur at least {min_count} times, and vectors need two: "
            "give more text, or lower --min-count"
        )
    return Vocabulary(tuple(word for _, word in chosen), np.array([n for n, _ in chosen], np.int64))


@dataclass(frozen=True)
class Text:
    """A text as ids: the sentences behind one another, words outside the vocabulary left out."""

    ids: np.ndarray  # int32 [tokens]
    sentences: np.ndarray  # int32 [tokens]: the number of the sentence


def encode(sentences: Iterable[Sequence[str]], vocabulary: Vocabulary) -> Text:
    """The ids of a text."""
    number = {word: i for i, word in enumerate(vocabulary.words)}
    rows = [[number[word] for word in sentence if word in number] for sentence in sentences]
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    ids = np.fromiter((i for row in rows for i in row), np.int32, int(lengths.sum()))
    return Text(ids, np.repeat(np.arange(len(rows), dtype=np.int32), lengths))
