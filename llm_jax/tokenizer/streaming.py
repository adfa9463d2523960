"""Text that comes in pieces, and tokens that come one at a time.

Encoding: a piece may end within a word, so its ids are not certain until more of the text is there. `StreamEncoder`
keeps back what may still change. Decoding: one token may hold a part of a character (the four bytes of an emoji are
often three tokens), and `decode([id])` would show U+FFFD for each part. `StreamDecoder` waits until a character is
whole.
"""

import codecs
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from llm_jax.tokenizer.protocol import (
    NONE_ALLOWED,
    NONE_DISALLOWED,
    AllowedSpecial,
    DisallowedSpecial,
    Tokenizer,
    check_text,
)
from llm_jax.tokenizer.special import finder, refuse, resolve_allowed, resolve_disallowed

BLOCK = 1 << 16  # characters that are encoded at once


class StreamEncoder:
    """All that `push` returned plus `finish()` equals `tokenizer.encode(…)` of the pieces joined.

    Holds about `block` characters, or twice the longest stretch in which `tokenizer.safe_cut` finds no place to cut.

    >>> encoder = StreamEncoder(tokenizer)
    >>> for line in file:
    ...     write(encoder.push(line))
    >>> write(encoder.finish())
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        allowed_special: AllowedSpecial = NONE_ALLOWED,
        disallowed_special: DisallowedSpecial = NONE_DISALLOWED,
        block: int = BLOCK,
    ):
        self._tokenizer, self._block = tokenizer, block
        self._allowed = frozenset(resolve_allowed(tokenizer.special_tokens, allowed_special))
        self._disallowed = resolve_disallowed(tokenizer.special_tokens, self._allowed, disallowed_special)
        self._reset()

    def _reset(self) -> None:
        self._start = 0  # of the text held, in the whole text
        self._held: list[str] = []
        self._size, self._enough = 0, self._block  # characters held; so many that encoding them is worth a try
        self._before = ""  # the end of what is encoded: a disallowed special token may begin in it

    def encode(self, pieces: Iterable[str]) -> Iterator[np.ndarray]:
        """The ids of the joined `pieces`, as uint32 arrays of some tens of thousands."""
        for piece in pieces:
            _check_is_text(piece)
            for start in range(0, len(piece), self._block):
                if len(ids := self.push(piece[start : start + self._block])):
                    yield ids
        if len(ids := self.finish()):
            yield ids

    def push(self, piece: str) -> np.ndarray:
        """The ids that have become certain; none until a block is full."""
        _check_is_text(piece)
        self._held.append(piece)
        self._size += len(piece)
        return self._take(last=False) if self._size >= self._enough else np.empty(0, np.uint32)

    def finish(self) -> np.ndarray:
        """The ids of the rest. The encoder is then ready for a new text."""
        ids = self._take(last=True)
        self._reset()
        return ids

    def _take(self, last: bool) -> np.ndarray:
        text = "".join(self._held)
        half = "" if last or not "\ud800" <= text[-1:] <= "\udbff" else text[-1]  # the other half may be next
        text = text.removesuffix(half)
        if not last and not self._tokenizer.parts_at_special:
            return self._hold(text + half)
        with _located(self._start - len(self._before)):
            refuse(self._before + text, self._disallowed)
        with _located(self._start):
            check_text(text)
        ids, done = self._encode(text, last)
        longest = max(map(len, self._disallowed), default=1)
        self._before = (self._before + text[:done])[-(longest - 1) :] if longest > 1 else ""
        self._held = [text[done:] + half]
        self._start += done
        self._size = len(self._held[0])
        self._enough = max(self._block, 2 * self._size)  # a long stretch without a cut is tried at twice its length
        return ids

    def _hold(self, text: str) -> np.ndarray:
        """Nothing is certain before the end."""
        self._held, self._size, self._enough = [text], len(text), 2 * len(text)
        return np.empty(0, np.uint32)

    def _encode(self, text: str, last: bool) -> tuple[np.ndarray, int]:
        """The ids that are certain, and of how many characters."""
        if not self._tokenizer.parts_at_special:
            return self._tokenizer.encode_array(text, self._allowed), len(text)
        arrays = [np.empty(0, np.uint32)]
        position = 0
        openings = [] if last else self._openings(text)
        while True:
            # A special token that may begin here goes before any that begins later, or is a shorter one.
            limit = next((opening for opening in openings if opening >= position), len(text))
            match = finder(self._allowed).search(text, position) if self._allowed else None
            if match is None or match.start() >= limit:
                break
            special = np.array([self._tokenizer.special_tokens[match[0]]], np.uint32)
            arrays += [self._encode_ordinary(text[position : match.start()], position), special]
            position = match.end()
        rest = text[position:limit]
        cut = len(rest) if last else self._tokenizer.safe_cut(rest)
        return np.concatenate([*arrays, self._encode_ordinary(rest[:cut], position)]), position + cut

    def _encode_ordinary(self, text: str, position: int) -> np.ndarray:
        with _located(self._start + position):
            return self._tokenizer.encode_array(text)

    def _openings(self, text: str) -> list[int]:
        """Where `text` ends in the beginning of an allowed special token, in order."""
        longest = max(map(len, self._allowed), default=1)
        return [
            start
            for start in range(max(0, len(text) - longest + 1), len(text))
            if any(len(text) - start < len(token) and token.startswith(text[start:]) for token in self._allowed)
        ]


@contextmanager
def _located(start: int) -> Iterator[None]:
    """Adds to a ValueError where the text begins that its positions count from."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"in the text from character {start:,} on: {error}" if start else str(error)) from None


def _check_is_text(piece: str) -> None:
    if not isinstance(piece, str):
        raise TypeError(f"a piece of text must be a str; got {type(piece).__name__}")


class StreamDecoder:
    """All that `push` returned plus `finish()` equals `tokenizer.decode(ids)`.

    `after`: the tokens that stand before, such as a prompt's. Then it is what `ids` add to their text: the first token
    of an answer keeps a space that it would lose at the beginning of a text. Special tokens alone begin no text.

    An id without a token adds nothing: a model may write one that its vocabulary leaves out.

    >>> stream = StreamDecoder(tokenizer)
    >>> for token in generated:
    ...     print(stream.push(token), end="", flush=True)
    >>> print(stream.finish())
    """

    def __init__(self, tokenizer: Tokenizer, after: Iterable[int] = ()):
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._has_begun = not set(tokenizer.special_tokens.values()).issuperset(after)

    def push(self, token: int) -> str:
        """The characters that `token` completes; often none, sometimes several."""
        if self._tokenizer.id_to_token(token) is None:
            return ""
        piece = self._tokenizer.token_bytes(token) if self._has_begun else self._tokenizer.decode_bytes([token])
        self._has_begun = True
        return self._utf8.decode(piece)

    def finish(self) -> str:
        """U+FFFD if the last character was never completed, else nothing. The decoder is then ready for a new text."""
        rest = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        self._has_begun = False
        return rest
