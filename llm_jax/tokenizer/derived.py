"""What every tokenizer can do once it can encode, decode and cut: the parts of the protocol with one implementation.

Beside them, what a token stands for: which characters of a text, and how many bytes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

import numpy as np

from llm_jax.tokenizer.hf_files.chat_templates import ChatTemplates
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

    def token_bytes(self: Tokenizer, number: int) -> bytes:
        return self.decode_bytes([number])


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
