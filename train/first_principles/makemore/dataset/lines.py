"""A file's lines and their alphabet.

A line is a sequence that begins and ends with its line break, which has id 0: what follows the break is how lines
begin, and the break is how they end. `splits` says which lines are for what.
"""

import re
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llm_jax.files.content import read_text
from llm_jax.tokenizer.characters import CharacterTokenizer
from train.first_principles.makemore.dataset.splits import Rule, split

BREAK = 0
LONGEST = 512  # characters
FEWEST = 10  # lines: with fewer, the tenths are empty


@dataclass(frozen=True)
class Lines:
    """The lines of a source as ids, without their breaks, split."""

    source: str  # for people
    alphabet: CharacterTokenizer  # the line break first
    splits: dict[str, list[np.ndarray]]  # train, dev, test: one array of ids for each line

    @property
    def vocab_size(self) -> int:
        return self.alphabet.vocab_size

    @property
    def longest(self) -> int:
        """Characters of the longest line of any split."""
        return max(len(line) for lines in self.splits.values() for line in lines)

    @property
    def all(self) -> list[np.ndarray]:
        return [line for lines in self.splits.values() for line in lines]


def read(path: Path | None, rule: Rule = "lectures") -> Lines:
    """The lines of a file, or without one, the embedded words.

    Blank lines are left out. Raises ValueError with the file's name when it is no text in UTF-8, has too few lines to
    split, or a line that is too long to be learned as one; OSError when it cannot be read.
    """
    if path is None:
        return from_texts(
            unicode_words(), f"words of Python's Unicode {unicodedata.unidata_version} character names", rule
        )
    try:
        texts = read_text(path).splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8 (byte {error.start}): save it as UTF-8") from None
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist; expected a text file with one name or word per line") from None
    except IsADirectoryError:
        raise IsADirectoryError(f"{path} is a folder; expected a text file with one name or word per line") from None
    return from_texts(texts, str(path), rule)


def from_texts(texts: list[str], source: str, rule: Rule = "lectures") -> Lines:
    """Alphabet and split of lines; `source` is what errors call them."""
    for number, text in enumerate(texts, 1):
        if len(text) > LONGEST:
            raise ValueError(
                f"{source}, line {number} has {len(text):,} characters; these models learn lines of at most {LONGEST}: "
                "break it up, or train a GPT on running text (python -m train pretrain)"
            )
    is_empty = not texts
    texts = [text for text in texts if text.strip()]
    if len(texts) < FEWEST:
        found = f"has {len(texts)} line{'s' if len(texts) > 1 else ''}"
        if not texts:
            found = "is empty" if is_empty else "has no lines but blank ones"
        raise ValueError(f"{source} {found}; expected one name or word per line, at least {FEWEST} of them, to split")
    alphabet = CharacterTokenizer(["\n", *sorted(set("".join(texts)))])
    parts = split(texts, rule)
    splits = {name: [np.array(alphabet.encode(text), np.int32) for text in part] for name, part in parts.items()}
    return Lines(source, alphabet, splits)


def unicode_words() -> list[str]:
    """A few thousand words that come with Python: those of the names of all Unicode characters.

    Names of letters and signs in a hundred scripts. Left out are the syllables of Hangul and Yi, whose names are all
    combinations of a few sounds. Sorted; which words there are depends on Python's version of Unicode.
    """
    words: set[str] = set()
    for code in range(sys.maxunicode + 1):
        name = unicodedata.name(chr(code), "")
        if not name.startswith(("CJK", "HANGUL SYLLABLE", "YI SYLLABLE")):
            words.update(re.findall(r"\b[A-Z]{3,15}\b", name))
    return sorted(word.lower() for word in words)
