"""What every tokenizer can do once it can encode, decode and cut: the parts of the protocol with one implementation.

Beside them: a tokenizer with other borders or another chat template, and what a token stands for, which is characters
of a text and a number of bytes.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np

from llm_jax.tokenizer.borders import Borders
from llm_jax.tokenizer.hf_files.chat_templates import DEFAULT, JINJA, ChatTemplates
from llm_jax.tokenizer.protocol import (
    NONE_ALLOWED,
    NONE_DISALLOWED,
    AllowedSpecial,
    DisallowedSpecial,
    Span,
    Tokenizer,
)
from llm_jax.tokenizer.streaming import StreamEncoder


class Derived:
    """Base class of tokenizers in which the bytes of a text's tokens, joined, are the bytes of the text."""

    parts_at_special = True
    files: Mapping[str, bytes] = {}
    chat: ChatTemplates | None = None
    borders: Borders

    @property
    def end_of_text(self) -> int | None:
        return self.borders.end

    def encode_array(
        self: Tokenizer,
        text: str,
        allowed_special: AllowedSpecial = NONE_ALLOWED,
        disallowed_special: DisallowedSpecial = NONE_DISALLOWED,
    ) -> np.ndarray:
        return np.array(self.encode(text, allowed_special, disallowed_special), np.uint32)

    def encode_with_offsets(
        self: Tokenizer,
        text: str,
        allowed_special: AllowedSpecial = NONE_ALLOWED,
        disallowed_special: DisallowedSpecial = NONE_DISALLOWED,
    ) -> tuple[list[int], list[Span]]:
        ids = self.encode(text, allowed_special, disallowed_special)
        return ids, character_spans(text, [self.token_bytes(number) for number in ids])

    def encode_iterable(
        self: Tokenizer,
        pieces: Iterable[str],
        allowed_special: AllowedSpecial = NONE_ALLOWED,
        disallowed_special: DisallowedSpecial = NONE_DISALLOWED,
    ) -> Iterator[int]:
        """The ids of the joined `pieces`; a faulty argument is refused at once, a faulty text where it is reached."""
        encoder = StreamEncoder(self, allowed_special, disallowed_special)
        return (number for ids in encoder.encode(pieces) for number in ids.tolist())

    def decode(self: Tokenizer, ids: Iterable[int]) -> str:
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def token_bytes(self: Tokenizer, number: int) -> bytes:
        return self.decode_bytes([number])


def with_borders(tokenizer: Tokenizer, borders: Borders) -> Tokenizer:
    """The same tokenizer with other borders: its ids, and so its fingerprint, are the same."""
    changed: Any = copy.copy(tokenizer)
    changed.borders = borders
    return changed


def with_stops(tokenizer: Tokenizer, stops: Iterable[int]) -> Tokenizer:
    """The same tokenizer, at whose ids `stops` a continuation ends as well."""
    borders = tokenizer.borders
    return with_borders(tokenizer, replace(borders, stops=tuple(dict.fromkeys((*borders.stops, *stops)))))


def with_template(tokenizer: Tokenizer, template: str) -> Tokenizer:
    """The same tokenizer with `template` as its chat template: its ids, and so its fingerprint, are the same."""
    if tokenizer.chat is not None:
        chat = replace(tokenizer.chat, templates={**tokenizer.chat.templates, DEFAULT: template}, source=JINJA)
    else:
        borders = {"bos_token": tokenizer.borders.begin, "eos_token": tokenizer.borders.end}
        spelled = {role: tokenizer.id_to_token(number) for role, number in borders.items() if number is not None}
        chat = ChatTemplates({DEFAULT: template}, {role: token for role, token in spelled.items() if token})
    return with_chat(tokenizer, chat)


def with_chat(tokenizer: Tokenizer, chat: ChatTemplates | None) -> Tokenizer:
    """The same tokenizer with other chat templates, or none."""
    changed: Any = copy.copy(tokenizer)
    changed.chat = chat
    return changed


def character_spans(text: str, tokens: Sequence[bytes]) -> list[tuple[int, int]]:
    """(start, stop) for each of `tokens`, whose bytes joined are `text`: the token stands for `text[start:stop]`.

    A token that holds a part of a character spans the whole of it, so the tokens of one split character overlap, as
    they do in Hugging Face's tokenizers.
    """
    if not tokens:
        return []
    stops = list(accumulate(map(len, tokens)))
    starts = [0, *stops[:-1]]
    if not text.isascii():
        begins_character = (np.frombuffer(text.encode(), np.uint8) & 0xC0) != 0x80
        character_of_byte = np.cumsum(begins_character) - 1
        starts = character_of_byte[starts].tolist()
        stops = (character_of_byte[np.array(stops) - 1] + 1).tolist()
    return list(zip(starts, stops, strict=True))


def byte_lengths(tokenizer: Tokenizer) -> np.ndarray:
    """Bytes of text behind each id, int64 [vocab_size]; 0 for special tokens and ids that have none.

    They turn a loss per token into bits per byte.
    """
    special = set(tokenizer.special_tokens.values())

    def length(token: int) -> int:
        if token in special:
            return 0
        try:
            return len(tokenizer.token_bytes(token))
        except ValueError:  # an unused id, as cl100k has some
            return 0

    return np.array([length(token) for token in range(tokenizer.vocab_size)])
