"""Turns new tokens into text that is final: whole characters, and nothing that may be the beginning of a stop text."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from llm_jax.tokenizer import StreamDecoder, Tokenizer


class Continuation:
    """All that `push` returned plus `finish()` is the continuation, cut before the first stop text in it."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        stops: Sequence[str] = (),
        min_tokens: int = 0,
        hidden: AbstractSet[int] = frozenset(),
        prompt: Sequence[int] = (),
    ):
        """A continuation without tokens.

        Args:
            tokenizer: decodes the tokens.
            stops: texts before which the continuation ends.
            min_tokens: a stop text that ends within the first `min_tokens` tokens does not end the continuation.
            hidden: ids that add nothing to the text.
            prompt: the tokens before the continuation.
        """
        self._decoder, self._stops, self._hidden = StreamDecoder(tokenizer, prompt), tuple(stops), hidden
        self._held, self._n_free = "", min_tokens
        self.stop: str | None = None  # the stop text that ended the continuation

    @property
    def stopped(self) -> bool:
        return self.stop is not None

    def push(self, token: int) -> str:
        """Adds a token; returns the text that has become final."""
        text = "" if token in self._hidden else self._take(self._decoder.push(token))
        self._n_free -= 1
        return text

    def finish(self) -> str:
        """The rest of the text, after the last token."""
        rest = self._take(self._decoder.finish()) + self._held
        self._held = ""
        return rest

    def _take(self, text: str) -> str:
        if self.stopped:
            return ""
        before, text = len(self._held), self._held + text
        # The held text was searched before: a stop text that is found now ends in the new text.
        matches = [(at, stop) for stop in self._stops if (at := text.find(stop, max(0, before - len(stop) + 1))) >= 0]
        if matches and self._n_free <= 0:
            at, self.stop = min(matches)
            self._held = ""
            return text[:at]
        n_held = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - n_held :]
        return text[: len(text) - n_held]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest suffix of `text` that is a proper prefix of `stop`.

    >>> _overlap("one two", "two three"), _overlap("one", "two")
    (3, 0)
    """
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
