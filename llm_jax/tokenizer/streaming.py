"""Tokens come one at a time, characters do not: showing text while it is generated.

One token may hold a part of a character (the four bytes of an emoji are often three tokens). `decode([id])` would show
U+FFFD for each part; this decoder waits until a character is whole.
"""

import codecs

from llm_jax.tokenizer.protocol import Tokenizer


class StreamDecoder:
    """All that `push` returned plus `finish()` equals `tokenizer.decode(ids)`.

    >>> stream = StreamDecoder(tokenizer)
    >>> for token in generated:
    ...     print(stream.push(token), end="", flush=True)
    >>> print(stream.finish())
    """

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The characters that `token` completes; often none, sometimes several."""
        return self._utf8.decode(self._tokenizer.decode_bytes([token]))

    def finish(self) -> str:
        """U+FFFD if the last character was never completed, else nothing. The decoder is then ready for a new text."""
        rest = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return rest
