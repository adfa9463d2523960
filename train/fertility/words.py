"""Where the words of a text are.

Spaces give words only where a script writes them between words. Thai, Lao, Khmer, Burmese, Chinese and Japanese do not:
there a segmenter or a file gives the words, or no figure about words is computed: "tokens per word" over stretches
between spaces would compare sentences with words.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import regex

from train.fertility import segmenters
from train.fertility.config import named
from train.fertility.texts import Text, content_of

BETWEEN = re.compile("[\\s\u200b]+")
CORE = regex.compile(r"[\p{L}\p{M}\p{N}](?:.*[\p{L}\p{M}\p{N}])?", regex.DOTALL)


@dataclass(frozen=True)
class Words:
    """Spans in a text's `whole`, without the punctuation around them, and how many words there are with it."""

    by: str  # spaces, segmenter PACKAGE, or the file
    n: int
    types: tuple[str, ...]  # one for each span
    spans: np.ndarray  # (words that hold a letter or digit, 2)


@dataclass(frozen=True)
class NoWords:
    because: str


def words_of_all(texts: Sequence[Text], asked: Sequence[str]) -> dict[str, Words | NoWords]:
    """By the text's name. Raises FileNotFoundError, ModuleNotFoundError or ValueError."""
    files = _files(texts, asked)
    by_segmenter = "segmenter" in asked
    found: dict[str, Words | NoWords] = {}
    for text in texts:
        if text.name in files:
            found[text.name] = _by_file(text, files[text.name])
        elif (script := segmenters.spaceless_script(text.whole)) is None:
            found[text.name] = _words("spaces", text, [match.span() for match in re.finditer(r"\S+", text.whole)])
        elif not by_segmenter:
            found[text.name] = NoWords(f"{script} writes no spaces between words: --words segmenter or a file")
        elif (segmenter := segmenters.segmenter_of(script)) is None:
            found[text.name] = NoWords(f"no segmenter for {script}: --words {text.name}=FILE")
        else:
            spans = [
                span
                for start, line in zip(text.starts, text.lines, strict=True)
                for span in _spans(segmenter(line), line, start)
            ]
            found[text.name] = _words(f"segmenter {segmenters.PACKAGES[script]}", text, spans)
    return found


def _files(texts: Sequence[Text], asked: Sequence[str]) -> dict[str, Path]:
    """By the text's name."""
    names, found = [text.name for text in texts], dict[str, Path]()
    for entry in asked:
        if entry in ("spaces", "segmenter"):
            continue
        name, rest = named(entry, Path(entry).exists())
        path = Path(rest)
        if not path.is_file():
            raise FileNotFoundError(f"--words {entry}: expected spaces, segmenter, or a file of words; {path} is none")
        name = name or (path.stem if path.stem in names or len(names) > 1 else names[0])
        if name not in names:
            raise ValueError(
                f"--words {entry}: no text is named {name!r}; give NAME={path}, with one of {', '.join(names)}"
            )
        found[name] = path
    return found


def _by_file(text: Text, path: Path) -> Words:
    """Raises ValueError with the first line whose words do not make the text's line."""
    content = content_of(path)
    lines = content.removesuffix("\n").split("\n")
    if len(lines) != len(text.lines):
        raise ValueError(f"{path} has {len(lines):,} lines and {text.name} {len(text.lines):,}: they must be the same")
    spans: list[tuple[int, int]] = []
    for number, (words, line) in enumerate(zip(lines, text.lines, strict=True), start=1):
        if BETWEEN.sub("", words) != BETWEEN.sub("", line):
            raise ValueError(
                f"{path}, line {number:,} is not the text of {text.name}: write its words, with a space between them"
            )
        spans += _spans(BETWEEN.split(words), line, text.starts[number - 1])
    return _words(str(path), text, spans)


def _spans(words: Sequence[str], line: str, start: int) -> list[tuple[int, int]]:
    """Where the words stand, with `start` added. What stands between their letters in the line belongs to them."""
    letters = [place for place, letter in enumerate(line) if not BETWEEN.fullmatch(letter)]
    bare = "".join(line[place] for place in letters)
    found, at = [], 0
    for word in (BETWEEN.sub("", word) for word in words):
        if word and (begin := bare.find(word, at)) >= 0:
            at = begin + len(word)
            found.append((start + letters[begin], start + letters[at - 1] + 1))
    return found


def _words(by: str, text: Text, spans: Sequence[tuple[int, int]]) -> Words:
    types, cores = [], []
    for start, stop in spans:
        if core := CORE.search(text.whole, start, stop):
            types.append(core[0])
            cores.append(core.span())
    return Words(by, len(spans) if by == "spaces" else len(cores), tuple(types), np.array(cores, int).reshape(-1, 2))
