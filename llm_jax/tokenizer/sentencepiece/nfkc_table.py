"""Unicode's form NFKC as SentencePiece's table: stretches of text → what they become, the longest match first.

A table cannot say NFKC for every text: marks over a letter may stand in any number and order. It holds every character
that changes; a letter with its marks in every order and form (Hangul's, too); half-width and full-width letters with
a mark; and two marks of one script in the wrong order. Other orders of three or more marks stay as they are.
"""

import struct
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import permutations, product

from llm_jax.tokenizer.sentencepiece import double_array
from llm_jax.tokenizer.sentencepiece.model_file import SentencePieceModel

NAME = "nfkc (llm-jax)"
CODES = [*range(1, 0xD800), *range(0xE000, 0x30000)]  # no later character changes, or is a mark
SYLLABLES = range(0xAC00, 0xD7A4)
WIDE = range(0xFF00, 0xFFF0)


@cache
def table() -> bytes:
    """The compiled table: the size of the trie, the trie, and the texts that its values point to, each ended by 0."""
    texts, place_of = bytearray(), dict[str, int]()
    values = dict[bytes, int]()
    for stretch, becomes in rules().items():
        if becomes not in place_of:
            place_of[becomes] = len(texts)
            texts += becomes.encode() + b"\0"
        values[stretch.encode()] = place_of[becomes]
    trie = double_array.build(values)
    return struct.pack("<I", len(trie)) + trie + bytes(texts)


def is_in(model: SentencePieceModel) -> bool:
    """Whether a model's table is this one: then NFKC itself can be computed in its place."""
    return model.normalizer == NAME and model.character_map == table()


def rules() -> dict[str, str]:
    """Stretch → its form NFKC, for stretches that it changes."""
    stretches = [*map(chr, CODES), *_composed(), *_pairs_of_marks(), *_syllables(), *_wide(), *_marks()]
    forms = ((stretch, unicodedata.normalize("NFKC", stretch)) for stretch in stretches)
    return {stretch: form for stretch, form in forms if form != stretch}


def _composed() -> Iterator[str]:
    """A letter and its marks in any order, the first of them composed or not."""
    for letter in map(chr, CODES):
        apart = unicodedata.normalize("NFD", letter)
        if len(apart) == 1 or ord(letter) in SYLLABLES:
            continue
        for order in permutations(apart[1:]):
            for n in range(len(order) + 1):
                yield unicodedata.normalize("NFC", apart[0] + "".join(order[:n])) + "".join(order[n:])


def _pairs_of_marks() -> Iterator[str]:
    """A letter with two marks, each of which it composes with, such as e with acute and a dot below."""
    marks_of = defaultdict[str, list[str]](list)
    for letter in map(chr, CODES):
        apart = unicodedata.decomposition(letter).split()
        if len(apart) == 2 and not apart[0].startswith("<"):
            marks_of[chr(int(apart[0], 16))].append(chr(int(apart[1], 16)))
    for letter, marks in marks_of.items():
        for first, second in permutations(marks, 2):
            yield letter + first + second
            yield unicodedata.normalize("NFC", letter + first) + second


def _syllables() -> Iterator[str]:
    """Hangul of two or three parts, or of a syllable and its last part."""
    for syllable in map(chr, SYLLABLES):
        apart = unicodedata.normalize("NFD", syllable)
        yield apart
        if len(apart) == 3:
            yield unicodedata.normalize("NFC", apart[:2]) + apart[2]


def _wide() -> Iterator[str]:
    """Half-width and full-width letters before a mark, such as ﾊ before ﾞ."""
    by_form = defaultdict[str, list[str]](list)
    for letter in map(chr, WIDE):
        by_form[unicodedata.normalize("NFKC", letter)].append(letter)
    for letter in map(chr, CODES):
        apart = unicodedata.normalize("NFD", letter)
        if len(apart) == 2 and apart[0] in by_form:
            yield from map("".join, product(by_form[apart[0]], [apart[1], *by_form.get(apart[1], [])]))


def _marks() -> Iterator[str]:
    """Two marks in the wrong order, if their codes are near each other: then they are of one script."""
    groups = defaultdict[int, list[str]](list)
    for mark in map(chr, CODES):
        if unicodedata.combining(mark):
            groups[ord(mark) >> 8].append(mark)
    for marks in groups.values():
        for first, second in product(marks, marks):
            if unicodedata.combining(first) > unicodedata.combining(second):
                yield first + second
