"""Source → target: sequences made by code, and files of words with their phonemes.

A file has one pair a line, `word TAB phonemes`, the phonemes with spaces between (SIGMORPHON 2021, task 1). A source is
read character by character. Symbols get ids from the training pairs alone; a symbol of the source that is not among
them becomes `unknown`, and a target with such a symbol can never be right, so it is counted and not refused.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llm_jax.files.content import read_text

PAD, BEGIN, END, UNKNOWN, MASK = range(5)
SPECIAL = 5
LONGEST = 200  # symbols of a source or a target
FEWEST = 20  # pairs: with fewer there is nothing to set apart
DIGITS = "0123456789"
HEADERS = {("word", "phonemes"), ("word", "pronunciation")}  # a first line that names its columns

Symbols = tuple[str, ...]
Pair = tuple[Symbols, Symbols]


@dataclass(frozen=True)
class Splits:
    """Pairs for training, for choosing the best parameters, and for the last figure."""

    name: str  # for people
    train: list[Pair]
    dev: list[Pair]
    test: list[Pair]


@dataclass(frozen=True)
class Vocabulary:
    """One table of symbols for sources and targets, as the paper's joint vocabulary."""

    symbols: Symbols

    @classmethod
    def of(cls, pairs: list[Pair]) -> "Vocabulary":
        return cls(tuple(sorted({symbol for pair in pairs for side in pair for symbol in side})))

    @property
    def size(self) -> int:
        return SPECIAL + len(self.symbols)

    def encode(self, symbols: Symbols) -> np.ndarray:
        known = self.ids
        return np.array([known.get(symbol, UNKNOWN) for symbol in symbols], np.int32)

    def decode(self, ids: np.ndarray) -> Symbols:
        """Symbols up to the end; `?` for a special id."""
        found = []
        for number in ids:
            if number == END:
                break
            found.append(self.symbols[number - SPECIAL] if number >= SPECIAL else "?")
        return tuple(found)

    @property
    def ids(self) -> dict[str, int]:
        return {symbol: SPECIAL + i for i, symbol in enumerate(self.symbols)}


def known_sources(pairs: list[Pair], training: list[Pair]) -> int:
    """How many pairs have a source that was trained on, so that a model may have it by heart."""
    known = {source for source, _ in training}
    return sum(source in known for source, _ in pairs)


def unseen(pairs: list[Pair], vocabulary: Vocabulary) -> int:
    """How many targets hold a symbol that training does not have: no model of this vocabulary can write them."""
    known = set(vocabulary.symbols)
    return sum(not known.issuperset(target) for _, target in pairs)


def made(task: str, seed: int, n_train: int = 20_000, n_dev: int = 200, n_test: int = 1_000) -> Splits:
    """Copy or reversal of 4 to 16 digits. All sequences differ, so those of the test were never trained on."""
    rng, seen = np.random.default_rng(seed), set()
    while len(seen) < n_train + n_dev + n_test:
        seen.add("".join(rng.choice(list(DIGITS), rng.integers(4, 17))))
    sources = sorted(seen)
    rng.shuffle(sources)
    pairs: list[Pair] = [(tuple(s), tuple(s if task == "copy" else s[::-1])) for s in sources]
    return Splits(f"{task} of 4 to 16 digits", *_cut(pairs, n_dev, n_test))


def numbers(seed: int, n_train: int = 8_000, n_dev: int = 200, n_test: int = 500) -> Splits:
    """Numbers below a million in English words, letter by letter: pairs that need no file."""
    chosen = np.random.default_rng(seed).choice(1_000_000, n_train + n_dev + n_test, replace=False)
    pairs: list[Pair] = [(tuple(str(n)), tuple(in_words(int(n)).split())) for n in chosen]
    return Splits("numbers below a million → English words", *_cut(pairs, n_dev, n_test))


def in_words(number: int) -> str:
    """A whole number below a million: 301,012 → "three hundred one thousand twelve"."""
    teens = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    small = [*teens.split(), "seventeen", "eighteen", "nineteen"]
    tens = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
    if number < 20:
        return small[number]
    for unit, word in ((1000, "thousand"), (100, "hundred")):
        if number >= unit:
            rest = number % unit
            return f"{in_words(number // unit)} {word}" + (f" {in_words(rest)}" if rest else "")
    return tens[number // 10 - 2] + (f" {small[number % 10]}" if number % 10 else "")


def read_splits(train: Path, dev: Path | None, test: Path | None, seed: int) -> Splits:
    """The pairs of files. Without --dev or --test, a part of the training pairs is set apart, the same for a seed.

    All pairs of one source stay together, so a word with two pronunciations, or twice in the file, is in one part.

    Raises:
        OSError, ValueError: a file cannot be read, a line is no pair, or too few pairs are there.
    """
    pairs = read_pairs(train)
    groups: dict[Symbols, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair[0], []).append(pair)
    sources = list(groups)
    order = np.random.default_rng(seed).permutation(len(sources))
    n_dev, n_test = (0 if dev else max(1, len(sources) // 20)), (0 if test else max(1, len(sources) // 10))
    cut = _cut([groups[sources[i]] for i in order], n_dev, n_test)
    own_train, own_dev, own_test = ([pair for group in part for pair in group] for part in cut)
    held = {
        "dev": read_pairs(dev, least=1) if dev else own_dev,
        "test": read_pairs(test, least=1) if test else own_test,
    }
    return Splits(train.stem, own_train, **held)


def read_pairs(path: Path, least: int = FEWEST) -> list[Pair]:
    """The pairs of a file, in its order. Raises OSError, or ValueError that names the line and the cure."""
    try:
        lines = read_text(path).split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8 (byte {error.start:,}): save it as UTF-8") from None
    found: list[Pair] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        columns = line.rstrip("\r").split("\t")
        if not found and tuple(column.strip().lower() for column in columns) in HEADERS:
            continue
        if len(columns) != 2:
            raise ValueError(
                f"{path}, line {number:,}: expected `word TAB phonemes`; got {len(columns)} columns in {line[:60]!r}"
            )
        source, target = tuple(columns[0].strip()), tuple(columns[1].split())
        if not source or not target:
            empty = "word" if not source else "pronunciation"
            raise ValueError(f"{path}, line {number:,}: the {empty} is empty: fill it in, or remove the line")
        if max(len(source), len(target)) > LONGEST:
            raise ValueError(f"{path}, line {number:,}: more than {LONGEST} symbols: is this a list of words?")
        found.append((source, target))
    if len(found) < least:
        raise ValueError(f"{path} has {len(found)} pairs; expected at least {least}, one `word TAB phonemes` a line")
    return found


def _cut(pairs: list[Any], n_dev: int, n_test: int) -> tuple[list[Any], list[Any], list[Any]]:
    """Training, dev and test part, from the end to the beginning of the list."""
    held = n_dev + n_test
    return pairs[held:], pairs[:n_dev], pairs[n_dev:held]
