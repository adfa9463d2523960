"""SentencePiece's normalizer, with its tables and the user's symbols: text → the text that is cut into pieces.

From the left, at each place: a symbol that the user defined stays as it is, the longest first; else the longest key of
the character map is replaced; else one character is taken. Then superfluous spaces go, and spaces are written as ▁.
`normalization.py` is the same for the vocabularies that are learnt here, which have neither table nor symbols.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from llm_jax.tokenizer.sentencepiece import character_map
from llm_jax.tokenizer.sentencepiece.model_file import USER_DEFINED, SentencePieceModel
from llm_jax.tokenizer.sentencepiece.normalization import SPACE

SENTENCEPIECE, ALWAYS, FIRST, NEVER = "sentencepiece", "always", "first", "never"
"""Where a space is put before a text: before each text between special tokens; there, unless one is there already; so
before the first text alone; nowhere. The last three are transformers' `prepend_scheme`."""


class Stretch(NamedTuple):
    """`becomes` stands for `text[start:stop]`, character by character where `is_same`."""

    becomes: str
    start: int
    stop: int
    is_same: bool


class Normalizer:
    """What one model does to a text. Raises ValueError for a damaged character map."""

    def __init__(self, model: SentencePieceModel, scheme: str = SENTENCEPIECE):
        self._table = character_map.parse(model.character_map)
        symbols = sorted((p.text for p in model.pieces if p.kind == USER_DEFINED), key=len, reverse=True)
        self._symbols = re.compile("|".join(map(re.escape, symbols)) or "(?!)")
        singles, self._before = character_map.where_keys_begin(self._table)
        begins = singles | {text[0] for text in symbols} | self._before.keys()
        self._places = character_map.finder(begins)
        self._places_and_spaces = character_map.finder(begins | {" "})
        self._longest: dict[str, int] = {}
        for key in self._table:
            self._longest[key[0]] = max(len(key), self._longest.get(key[0], 0))
        self._removes_spaces = model.removes_spaces
        self._space = SPACE if model.escapes_spaces else " "
        self._scheme = scheme if model.dummy_prefix else NEVER

    def apply(self, text: str, is_first: bool = True) -> str:
        """The normalised text. `is_first`: no other text stands before it."""
        return self._finished("".join(stretch.becomes for stretch in self._stretches(text)), text, is_first)

    def apply_with_places(self, text: str, is_first: bool = True) -> tuple[str, list[int], list[int]]:
        """The normalised text, and the place in `text` where each of its characters begins and ends.

        A space put before the text begins and ends at 0.
        """
        stretches = list(self._stretches(text))
        body = "".join(stretch.becomes for stretch in stretches)
        starts, stops = list[int](), list[int]()
        for becomes, start, stop, is_same in stretches:
            n = len(becomes)
            starts += range(start, stop) if is_same else [start] * n
            stops += range(start + 1, stop + 1) if is_same else [stop] * n
        found = self._finished(body, text, is_first)
        added = [0] * (len(found) > 0 and self._prefix(body, text, is_first) != "")
        return found, [*added, *starts][: len(found)], [*added, *stops][: len(found)]

    def _finished(self, body: str, text: str, is_first: bool) -> str:
        found = self._prefix(body, text, is_first) + body.replace(" ", self._space)
        return found.rstrip(self._space) if self._removes_spaces else found

    def _prefix(self, body: str, text: str, is_first: bool) -> str:
        if self._scheme == SENTENCEPIECE:
            return self._space if text else ""
        if self._scheme == NEVER or (self._scheme == FIRST and not is_first) or not body.strip(" "):
            return ""
        return "" if body.startswith((" ", self._space)) else self._space

    def _stretches(self, text: str) -> Iterator[Stretch]:
        """The text without superfluous spaces, in order; a space is not yet written as ▁."""
        after_space = self._removes_spaces  # those at the beginning go
        for becomes, start, stop, is_same in self._replaced(text):
            if after_space and becomes.startswith(" "):
                shorter = becomes.lstrip(" ")
                start += is_same * (len(becomes) - len(shorter))
                becomes = shorter
            if becomes:
                after_space = self._removes_spaces and becomes.endswith(" ")
                yield Stretch(becomes, start, stop, is_same)

    def _replaced(self, text: str) -> Iterator[Stretch]:
        """Stretches that stay, and between them symbols, replaced keys and further spaces in a row."""
        places = self._places_and_spaces if self._removes_spaces and "  " in text else self._places
        place = done = 0
        while (match := places.search(text, place)) is not None:
            start, found = match.start(), None
            if start > place and text[start - 1] in self._before.get(text[start], ()):
                found = self._replacement(text, start - 1)
            if found is not None:
                start -= 1
            else:
                found = self._at(text, start)
            place = start + 1
            if found is not None:
                becomes, place, is_same = found
                if done < start:
                    yield Stretch(text[done:start], done, start, True)
                yield Stretch(becomes, start, place, is_same)
                done = place
        if done < len(text):
            yield Stretch(text[done:], done, len(text), True)

    def _at(self, text: str, start: int) -> tuple[str, int, bool] | None:
        """(what it becomes, where it ends, whether it stays) of the symbol, key or further space at `start`."""
        if (symbol := self._symbols.match(text, start)) is not None:
            return symbol[0], symbol.end(), True
        if (found := self._replacement(text, start)) is not None:
            return found
        return (" ", start + 1, True) if text[max(start - 1, 0) : start + 1] == "  " else None

    def _replacement(self, text: str, start: int) -> tuple[str, int, bool] | None:
        """The longest key at `start`, as `_at`."""
        for stop in range(min(len(text), start + self._longest.get(text[start], 0)), start, -1):
            if (becomes := self._table.get(text[start:stop])) is not None:
                return becomes, stop, False
        return None
