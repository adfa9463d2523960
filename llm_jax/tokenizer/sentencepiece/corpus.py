"""Texts → words with their counts, as SentencePiece prepares them before it learns (Kudo & Richardson 2018).

A text is cut into lines, a line is normalised (spaces become ▁), and a word begins at each ▁. No piece crosses the
border of a word, so each distinct word is kept once, with its count. The rarest characters, a share of 1 − coverage of
all, are no pieces of their own: HOLE stands in their place, and no piece holds it.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from llm_jax.tokenizer.protocol import check_text, check_texts
from llm_jax.tokenizer.sentencepiece.normalization import SPACE, Normalization

HOLE = "▅"
NEVER_PIECES = {"\t", "\0", " "}  # SentencePiece keeps the tab for itself
WITH_ONE, WITH_RUNS = re.compile(f"{SPACE}[^{SPACE}]*|[^{SPACE}]+"), re.compile(f"{SPACE}+[^{SPACE}]*|[^{SPACE}]+")
LONGEST_LINE = 4192  # bytes; longer lines are passed over, as by SentencePiece

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Corpus:
    """Distinct words with their counts, and the characters that become pieces, the commonest first.

    `words` maps a word and what follows it (▁, or "" at the end of a line) to a count.
    """

    words: Counter[tuple[str, str]]
    alphabet: dict[str, int]


def read(texts: Iterable[str], normalization: Normalization, coverage: float, space_runs: bool = False) -> Corpus:
    """`space_runs`: a word keeps all spaces before it, so that pieces of several spaces can be learnt.

    Raises ValueError for texts that hold nothing, or a surrogate.
    """
    if not 0.98 <= coverage <= 1:
        raise ValueError(f"coverage must be at least 0.98 and at most 1; got {coverage}")
    check_texts(texts)
    lines, n_long = Counter[str](), 0
    for text in texts:
        check_text(text)
        for line in text.split("\n"):
            if len(line) > LONGEST_LINE or len(line.encode()) > LONGEST_LINE:
                n_long += 1
            elif HOLE not in line:
                lines[line] += 1
    words = Counter[tuple[str, str]]()
    for line, n in lines.items():
        for word in words_of(normalization.apply(line), space_runs):
            words[word] += n
    if n_long:
        logger.warning(f"{n_long:,} lines of more than {LONGEST_LINE:,} bytes were left out")
    if not words:
        raise ValueError("the texts hold nothing to learn from; check the source")
    alphabet = _alphabet(words, coverage)
    rare = str.maketrans(dict.fromkeys({c for word, _ in words for c in word} - alphabet.keys(), HOLE))
    covered = Counter[tuple[str, str]]()
    for (word, after), n in words.items():
        covered[word.translate(rare), after] += n
    return Corpus(covered, alphabet)


def words_of(line: str, space_runs: bool = False) -> list[tuple[str, str]]:
    """(word, what follows it): a word begins at each ▁, or at each run of them."""
    if not line:
        return []
    words = (WITH_RUNS if space_runs else WITH_ONE).findall(line)
    return [*((word, SPACE) for word in words[:-1]), (words[-1], "")]


def _alphabet(words: Counter[tuple[str, str]], coverage: float) -> dict[str, int]:
    """The commonest characters, until they make up `coverage` of all."""
    counts = Counter[str]()
    for (word, _), n in words.items():
        for character in word:
            counts[character] += n
    total, covered = counts.total(), 0
    kept: dict[str, int] = {}
    for character, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if covered / total >= coverage:
            break
        covered += n
        if character not in NEVER_PIECES:
            kept[character] = n
    return kept
