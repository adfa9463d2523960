"""The engine's events for one sequence → its text, log-probabilities and finish reason in an answer."""

from llm_jax.tokenizer import Tokenizer
from serve.api.completions import Asked
from serve.api.decoding.batch import Scored
from serve.api.decoding.requests import Event
from serve.api.logprobs import ChatLogprobs, Logprobs
from serve.text.continuation import Continuation


class Choice:
    """One sequence of an answer, while its tokens come."""

    def __init__(self, tokenizer: Tokenizer, asked: Asked, prompt: tuple[int, ...]):
        self.echoed = tokenizer.decode(list(prompt)) if asked.echo else ""
        self.n_new = 0
        self._stop_tokens = asked.stop_tokens
        hidden = frozenset(tokenizer.special_tokens.values()) if asked.skip_special_tokens else frozenset()
        self._text = Continuation(tokenizer, asked.stops, asked.adjustment.min_tokens, hidden, prompt)
        self._logprobs: Logprobs | ChatLogprobs | None = None
        if asked.n_top is not None and asked.is_chat:
            self._logprobs = ChatLogprobs(tokenizer, asked.n_top)
        elif asked.n_top is not None:
            self._logprobs = Logprobs(tokenizer, prompt, asked.echo)

    def take(self, event: Event) -> tuple[str, dict | None, str | None, int | str | None]:
        """An event → new text, new log-probabilities and, at the end, the finish reason and the stop text or token."""
        if isinstance(event, list):
            assert isinstance(self._logprobs, Logprobs)
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
        """Counts a token and gives its log-probability; a token that ends the answer counts too."""
        self.n_new += 1
        if self._logprobs is None:
            return None
        self._logprobs.add(scored)
        return self._logprobs.take()
