"""New tokens → the text that may be shown: whole characters, and nothing that may yet turn out to be a stop text."""

from collections.abc import Sequence

from llm_jax.tokenizer import StreamDecoder, Tokenizer


class Continuation:
    """All that `push` returned plus `finish()` is the continuation, cut before the first stop text in it."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str] = (), min_tokens: int = 0):
        """A stop text that ends within the first `min_tokens` tokens is part of the text."""
        self._decoder, self._stops = StreamDecoder(tokenizer), tuple(stops)
        self._held, self._n_free = "", min_tokens
        self.stop: str | None = None  # the stop text that has come: what follows is not part of the continuation

    @property
    def stopped(self) -> bool:
        return self.stop is not None

    def push(self, token: int) -> str:
        """The text that is certain now."""
        shown = self._take(self._decoder.push(token))
        self._n_free -= 1
        return shown

    def finish(self) -> str:
        """The rest, when no token comes any more."""
        rest = self._take(self._decoder.finish()) + self._held
        self._held = ""
        return rest

    def _take(self, text: str) -> str:
        if self.stopped:
            return ""
        before, text = len(self._held), self._held + text
        # What is held has been searched: a stop text ends in the new part.
        found = [(at, stop) for stop in self._stops if (at := text.find(stop, max(0, before - len(stop) + 1))) >= 0]
        if found and self._n_free <= 0:
            at, self.stop = min(found)
            self._held = ""
            return text[:at]
        n_held = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - n_held :]
        return text[: len(text) - n_held]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that `stop` begins with.

    >>> _overlap("one two", "two three"), _overlap("one", "two")
    (3, 0)
    """
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
