"""New tokens → the text that may be shown: whole characters, and nothing that may yet turn out to be a stop text."""

from collections.abc import Sequence

from llm_jax.tokenizer import StreamDecoder, Tokenizer


class Continuation:
    """All that `push` returned plus `finish()` is the continuation, cut before the first stop text in it."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str] = ()):
        self._decoder, self._stops = StreamDecoder(tokenizer), tuple(stops)
        self._held = ""
        self.stopped = False  # a stop text has come: what follows is not part of it

    def push(self, token: int) -> str:
        """The text that is certain now."""
        return self._take(self._decoder.push(token))

    def finish(self) -> str:
        """The rest, when no token comes any more."""
        rest = self._take(self._decoder.finish()) + self._held
        self._held = ""
        return rest

    def _take(self, text: str) -> str:
        if self.stopped:
            return ""
        text = self._held + text
        if found := [at for stop in self._stops if (at := text.find(stop)) >= 0]:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        n_held = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - n_held :]
        return text[: len(text) - n_held]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that `stop` begins with.

    >>> _overlap("one two", "two three"), _overlap("one", "two")
    (3, 0)
    """
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
