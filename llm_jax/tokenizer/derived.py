"""What every tokenizer can do once it can encode, decode and cut: the parts of the protocol with one implementation."""

from collections.abc import Iterable, Iterator, Mapping

from llm_jax.tokenizer.hf_files.chat_templates import ChatTemplates
from llm_jax.tokenizer.offsets import character_spans
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
