"""The engine's events for one sequence → what an answer says of it."""

from llm_jax.tokenizer import Tokenizer
from serve.api.batch import Scored
from serve.api.completions import Asked
from serve.api.logprobs import Logprobs
from serve.api.requests import Event
from serve.text.continuation import Continuation


class Choice:
    """One sequence's text and log-probabilities while they come."""

    def __init__(self, tokenizer: Tokenizer, asked: Asked, prompt: tuple[int, ...]):
        self.echoed = tokenizer.decode(list(prompt)) if asked.echo else ""
        self.n_new = 0
        self._stop_tokens = asked.stop_tokens
        self._text = Continuation(tokenizer, asked.stops, asked.adjustment.min_tokens)
        self._logprobs = Logprobs(tokenizer) if asked.n_top is not None else None

    def take(self, event: Event) -> tuple[str, dict | None, str | None, int | str | None]:
        """An event → new text, new log-probabilities, and, if this is the end, the reason and what stopped it."""
        if isinstance(event, list):
            assert self._logprobs is not None
            for scored in event:
                self._logprobs.add(scored)
            self._logprobs.end_of_prompt()
            return self.echoed, self._logprobs.take(), None, None
        if isinstance(event, Scored):
            text = self._text.push(event.token)
            return text, self._counted(event), "stop" if self._text.stopped else None, self._text.stop
        logprobs = self._counted(event.stop_token) if event.stop_token else None
        text, stop = self._text.finish(), self._text.stop
        if stop is None and event.stop_token and event.stop_token.token in self._stop_tokens:
            stop = event.stop_token.token
        return text, logprobs, event.reason, stop

    def _counted(self, scored: Scored) -> dict | None:
        """One more token, which counts and has a log-probability even if it is one that ends the answer."""
        self.n_new += 1
        if self._logprobs is None:
            return None
        self._logprobs.add(scored)
        return self._logprobs.take()
