"""The bytes that one token adds to a text.

The library decodes texts, not tokens, and writes U+FFFD for a part of a character. Two kinds of tokens hold bytes:
those of byte-level BPE, spelled in GPT-2's byte characters, and SentencePiece's byte fallback, spelled `<0xE2>`. The
others are text: what the library's decoder makes of them behind another token, and at the beginning of a text, where
SentencePiece's and WordPiece's decoders leave out a space. Added tokens go through the decoder too, and those that are
matched in normalized text are written in their normalized form.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llm_jax.tokenizer.hf_files.tokenizer_json import to_bytes

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Core

_BYTE = re.compile("<0x([0-9A-Fa-f]{2})>")
_WORD = re.compile("[▁Ġ]?[A-Za-z]+")


class Pieces:
    """`behind` and `first`: the bytes of a token behind others, and at the beginning of a text."""

    def __init__(self, core: "Core", decoder: Mapping[str, Any] | None):
        self._core = core
        kinds = kinds_of(decoder)
        self._is_byte_level, self._has_fallback = "ByteLevel" in kinds, "ByteFallback" in kinds
        self._behind: dict[int, bytes] = {}
        self._anchor = self._find_anchor()

    def behind(self, number: int) -> bytes | None:
        """None for an id that has no token."""
        if (known := self._behind.get(number)) is None and (known := self._compute(number)) is not None:
            self._behind[number] = known
        return known

    def first(self, number: int) -> bytes | None:
        """None for an id that has no token."""
        piece = self.behind(number)
        if piece is None or self._is_byte_level or (len(piece) == 1 and piece[0] >= 0x80):
            return piece
        return self._decoded(number).encode()

    def is_fallback(self, number: int) -> bool:
        """Whether it is a byte of byte fallback."""
        return self._has_fallback and _BYTE.fullmatch(self._core.id_to_token(number) or "") is not None

    def _compute(self, number: int) -> bytes | None:
        if number < 0 or number >= 1 << 32 or (token := self._core.id_to_token(number)) is None:
            return None
        if self._is_byte_level:
            try:
                return to_bytes(token)
            except KeyError:
                return token.encode()
        if self._has_fallback and (byte := _BYTE.fullmatch(token)):
            return bytes.fromhex(byte[1])
        if self._anchor is None:
            return self._decoded(number).encode()
        before, both = self._decoded(self._anchor), self._decoded(self._anchor, number)
        return (both.removeprefix(before) if both.startswith(before) else self._decoded(number)).encode()

    def _find_anchor(self) -> int | None:
        """An ordinary token: the others are decoded behind it."""
        vocab = self._core.get_vocab(with_added_tokens=False)
        added = self._core.get_added_tokens_decoder()
        words = (number for token, number in vocab.items() if _WORD.fullmatch(token) and number not in added)
        return min(words, default=None)

    def _decoded(self, *ids: int) -> str:
        return self._core.decode(list(ids), skip_special_tokens=False)


def kinds_of(decoder: Mapping[str, Any] | None) -> set[str]:
    """The types of a decoder and its steps."""
    if not isinstance(decoder, Mapping):
        return set()
    steps = decoder.get("decoders")
    return {str(decoder.get("type"))}.union(*map(kinds_of, steps if isinstance(steps, list) else ()))
