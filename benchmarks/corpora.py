"""A hundred megabytes of text from what is at hand: WikiText-2 and the standard library, repeated with variation.

A plain repetition would only change counts. So each repetition alters a part of the words, each of them everywhere in
the same way, and the number of distinct words grows as it does in real text.
"""

import random
import re
from pathlib import Path

from train.prepare.sources.text import standard_library

ENDINGS = ("s", "ed", "ing", "ly", "er", "_2", "_new", "Id")
ALTERED = 0.15  # share of the words that a repetition alters
_WORD = re.compile("[A-Za-z_]{5,}")


def hundred_megabytes(wikitext: Path | None, n_characters: int = 100_000_000) -> list[str]:
    """Texts of `n_characters` together; `wikitext`: a folder with wikitext-2.{valid,test}.txt, if there is one."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(wikitext.glob("wikitext-2.*.txt"))] if wikitext else []
    texts += [path.read_text(encoding="utf-8") for path in standard_library().paths]
    found: list[str] = []
    size = repetition = 0
    while size < n_characters:
        for text in texts:
            found.append(varied(text, repetition)[: n_characters - size])
            size += len(found[-1])
            if size >= n_characters:
                break
        repetition += 1
    return found


def varied(text: str, repetition: int) -> str:
    """The text, with some of its words altered; repetition 0 is the text itself."""
    if not repetition:
        return text
    generator = random.Random(repetition)
    altered: dict[str, str] = {}

    def alter(match: re.Match[str]) -> str:
        word = match[0]
        if word not in altered:
            altered[word] = word + generator.choice(ENDINGS) if generator.random() < ALTERED else word
        return altered[word]

    return _WORD.sub(alter, text)
