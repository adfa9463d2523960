"""A folder → the files in it that are text → passages, each with the line it begins in.

Each passage gets one vector. Paragraphs are joined up to a length; a longer one is cut after a sentence, else at a
space. A file that is no text (an image, a program, a table) is left out, and the reason is said.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from llm_jax.files.content import read_text

LARGEST = 100_000_000  # bytes of a file
SENTENCE_END = re.compile(r"[.!?。！？។။]['\"”’)\]]*\s|[。！？។။]")


class Passage(NamedTuple):
    line: int  # in its file, from 1
    text: str


def files(folder: Path) -> Iterator[tuple[str, Path]]:
    """(name inside the folder, path) of every file, sorted, without hidden ones and links.

    The file of a link is in the folder too, or lies outside.
    """
    root = folder.resolve()
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place) / name
            if not name.startswith(".") and path.is_file() and not path.is_symlink():
                yield path.relative_to(root).as_posix(), path


def read(path: Path, characters: int) -> list[Passage]:
    """The passages of a file. Raises ValueError or OSError with the reason where it is no text that can be read."""
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path}: larger than {LARGEST // 10**6} MB; divide it")
    try:
        text = read_text(path)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error.reason} at byte {error.start:,}); convert it") from None
    return divide(text, characters)


def divide(text: str, characters: int) -> list[Passage]:
    """The passages of a text; every word of it is in one."""
    found: list[Passage] = []
    for line, paragraph in _paragraphs(text):
        last = found[-1] if found else None
        if last and len(last.text) + 1 + len(paragraph) <= characters:
            found[-1] = Passage(last.line, f"{last.text}\n{paragraph}")
        else:
            found += _cut(line, paragraph, characters)
    return found


def _paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """(line, text) of what stands between empty lines."""
    held: list[str] = []
    begun = 1
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        if line.strip():
            begun = begun if held else number
            held.append(line.strip())
        elif held:
            yield begun, "\n".join(held)
            held = []


def _cut(line: int, paragraph: str, characters: int) -> Iterator[Passage]:
    rest = paragraph
    while len(rest) > characters:
        ends = [match.end() for match in SENTENCE_END.finditer(rest, characters // 2, characters)]
        space = max(rest.rfind(" ", 1, characters), rest.rfind("\n", 1, characters)) + 1
        stop = ends[-1] if ends else space or characters
        yield Passage(line, rest[:stop].strip())
        line += rest[:stop].count("\n")
        rest = rest[stop:].lstrip(" ")
        line += len(rest) - len(rest.lstrip("\n"))
        rest = rest.lstrip("\n")
    if rest.strip():
        yield Passage(line, rest.strip())
