"""Keeps words of users ordinary text, even where they spell a special token.

A template writes special tokens and people's words into one text. Before that, the first character of every special
token that the words spell is replaced by a private character, which stands for it alone. The special tokens in the
written text are then the template's; the characters are put back where the rest is encoded.
"""

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

from llm_jax.tokenizer.special import finder

PRIVATE = range(0xF8FF, 0xE000, -1)  # Unicode's private use area, from its end


class Guard:
    """For one conversation: `hide` its texts, and `restore` what was made of them."""

    def __init__(self, special_tokens: Collection[str], texts: Iterable[str]):
        self._special = frozenset(special_tokens)
        self._texts = tuple(texts)
        self._private: dict[str, str] = {}
        self._plain: dict[str, str] = {}

    def hide(self, text: str) -> str:
        """The text, in which no special token begins, nor with what a template may write beside it."""
        if not self._special:
            return text
        places = {match.start() for match in finder(self._special).finditer(text, overlapped=True)}
        places |= self._at_edges(text)
        if not places:
            return text
        return "".join(self._of(letter) if place in places else letter for place, letter in enumerate(text))

    def restore(self, text: str) -> str:
        return text.translate(str.maketrans(self._plain)) if self._plain else text

    def hides(self, text: str) -> bool:
        """Whether something is hidden in the text."""
        return any(letter in text for letter in self._plain)

    def message(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """The message with every text hidden, except the role."""
        return {
            name: self.hide(value) if isinstance(value, str) and name != "role" else value
            for name, value in message.items()
        }

    def _at_edges(self, text: str) -> set[int]:
        """Where a special token begins, or goes on, that a neighbour could complete."""
        beginnings, endings = _torn(self._special)
        longest = max(map(len, self._special))
        found: set[int] = set()
        for stop in {len(text), len(text.rstrip())}:  # templates trim
            found |= {stop - n for n in range(1, min(longest, stop + 1)) if text[stop - n : stop] in beginnings}
        for start in {0, len(text) - len(text.lstrip())}:
            if any(text[start : start + n] in endings for n in range(1, longest)):
                found.add(start)
        return {place for place in found if place < len(text)}

    def _of(self, letter: str) -> str:
        if letter not in self._private:
            used = set().union(*self._texts, self._plain)
            free = next(chr(code) for code in PRIVATE if chr(code) not in used)
            self._private[letter], self._plain[free] = free, letter
        return self._private[letter]


@lru_cache(maxsize=8)
def _torn(special_tokens: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Every beginning and every ending of the tokens, the whole tokens left out."""
    beginnings = frozenset(token[:n] for token in special_tokens for n in range(1, len(token)))
    return beginnings, frozenset(token[-n:] for token in special_tokens for n in range(1, len(token)))
