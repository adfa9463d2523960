"""Learning a WordPiece vocabulary (Schuster & Nakajima 2012, as told by Hugging Face's course).

It begins with the letters, those inside a word marked ##, and joins the pair with the best score, again and again:

    score = f(pair) / (f(first) · f(second))

Byte-pair encoding joins the commonest pair, this one the pair whose halves occur most rarely apart: "##gs" before "un".
A pair that occurs once, of letters that occur once, has the best score of all, 1; `least` keeps such pairs out. Hugging
Face's WordPieceTrainer is byte-pair encoding inside, so its vocabularies are others.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from llm_jax.config.values import whole_number
from llm_jax.tokenizer.bpe.pairs import Words
from llm_jax.tokenizer.protocol import check_text, check_texts
from llm_jax.tokenizer.wordpiece.vocabulary import GOES_ON, LONGEST_WORD, SPECIAL, WordPieceVocabulary
from llm_jax.tokenizer.wordpiece.words import split_words

MOST_LETTERS = 1000  # the commonest; words with others are [UNK]
Progress = Callable[[int, int], None]
logger = logging.getLogger(__name__)


def train_wordpiece(
    texts: Iterable[str],
    vocab_size: int,
    lowercase: bool = True,
    least: int = 1,
    progress: Progress | None = None,
) -> WordPieceVocabulary:
    """Learns `vocab_size` tokens: BERT's five special ones, the letters in order of code point, then merges.

    Args:
        least: how often a pair has to occur to be joined.
        progress: `progress(done, total)` is called after each merge.

    Raises:
        ValueError: if `vocab_size` has no room for the special tokens and letters, or a text holds a surrogate.
    """
    check_texts(texts)
    counts = Counter[str]()
    for text in texts:
        check_text(text)
        counts.update(split_words(text, lowercase))
    return learn(counts, vocab_size, lowercase, least, progress)


def learn(
    counts: Mapping[str, int],
    vocab_size: int,
    lowercase: bool = True,
    least: int = 1,
    progress: Progress | None = None,
) -> WordPieceVocabulary:
    """As `train_wordpiece`, from words with their counts."""
    vocab_size = whole_number("vocab_size", vocab_size)
    spelled = {word: [word[0], *(GOES_ON + letter for letter in word[1:])] for word in counts if word}
    frequency = Counter[str]()
    for word, letters in spelled.items():
        for letter in letters:
            frequency[letter] += counts[word]
    letters = sorted(letter for letter, _ in frequency.most_common(MOST_LETTERS))
    n_merges = vocab_size - len(SPECIAL) - len(letters)
    if not letters:
        raise ValueError("the texts hold no words to learn from; check the source")
    if n_merges < 0:
        raise ValueError(
            f"vocab_size must be at least {len(SPECIAL) + len(letters)} ({len(SPECIAL)} special tokens and "
            f"{len(letters)} letters); got {vocab_size}"
        )
    symbol_of = {letter: chr(number) for number, letter in enumerate(letters)}
    usable = [
        word for word, spelling in spelled.items() if len(word) <= LONGEST_WORD and symbol_of.keys() >= {*spelling}
    ]
    words = Words(
        ("".join(symbol_of[letter] for letter in spelled[word]) for word in usable), [counts[word] for word in usable]
    )
    pieces = list(letters)
    for left, right in best_pairs(words, [frequency[letter] for letter in letters], n_merges, least):
        pieces.append(pieces[left] + pieces[right].removeprefix(GOES_ON))
        if progress:
            progress(len(pieces) - len(letters), n_merges)
    if len(pieces) < n_merges + len(letters):
        logger.warning(
            f"the texts have pairs for {len(pieces) - len(letters)} of {n_merges} merges: the vocabulary has "
            f"{len(SPECIAL) + len(pieces)} tokens, not {vocab_size}"
        )
    return WordPieceVocabulary([*SPECIAL, *pieces], lowercase)


def best_pairs(words: Words, frequencies: list[int], n_merges: int, least: int = 1) -> Iterator[tuple[int, int]]:
    """The pairs of symbols to merge, in order; merge i makes the symbol `len(frequencies)` + i.

    Among pairs of equal score the one that came first wins.
    """
    table = _Scores(words.counts, frequencies, n_merges, least)
    for new in range(len(frequencies), len(frequencies) + n_merges):
        if (pair := table.best()) is None:
            return
        yield ord(pair[0]), ord(pair[1])
        changes = words.merge(pair, chr(new))
        table.change(pair, new, words.merged, {changed: words.counts[changed] for changed in changes})


class _Scores:
    """The score of every pair. A merge changes the scores of the pairs that share a symbol with it."""

    def __init__(self, counts: Mapping[str, int], frequencies: Iterable[int], n_merges: int, least: int):
        self.frequency = np.concatenate((np.array([*frequencies], np.float64), np.zeros(n_merges)))
        self.least = max(least, 1)
        self.pairs: list[str] = []
        self.place: dict[str, int] = {}
        self.left = self.right = np.zeros(0, np.int32)
        self.count = self.score = np.zeros(0)
        self._set(counts)
        self._rescore(np.arange(len(self.pairs)))

    def best(self) -> str | None:
        if not self.pairs:
            return None
        place = int(np.argmax(self.score[: len(self.pairs)]))
        return self.pairs[place] if self.score[place] > 0 else None

    def change(self, pair: str, new: int, merged: int, counts: Mapping[str, int]) -> None:
        """Records that `pair` became the symbol `new`, `merged` times; `counts` holds every count that changed."""
        left, right = map(ord, pair)
        self.frequency[left] -= merged
        self.frequency[right] -= merged
        self.frequency[new] = merged
        self._set(counts)
        lefts, rights = self.left[: len(self.pairs)], self.right[: len(self.pairs)]
        touched = (lefts == left) | (lefts == right) | (lefts == new)
        touched |= (rights == left) | (rights == right) | (rights == new)
        self._rescore(np.flatnonzero(touched))

    def _set(self, counts: Mapping[str, int]) -> None:
        for pair in counts:
            if pair not in self.place:
                self.place[pair] = len(self.pairs)
                self.pairs.append(pair)
        if len(self.pairs) > len(self.count):
            more = 2 * len(self.pairs) - len(self.count)
            self.left, self.right = np.pad(self.left, (0, more)), np.pad(self.right, (0, more))
            self.count, self.score = np.pad(self.count, (0, more)), np.pad(self.score, (0, more))
        places = [self.place[pair] for pair in counts]
        self.left[places] = [ord(pair[0]) for pair in counts]
        self.right[places] = [ord(pair[1]) for pair in counts]
        self.count[places] = list(counts.values())

    def _rescore(self, places: np.ndarray) -> None:
        counts = self.count[places]
        apart = self.frequency[self.left[places]] * self.frequency[self.right[places]]
        self.score[places] = np.where(counts >= self.least, counts / np.maximum(apart, 1), 0)
