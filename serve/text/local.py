"""A `TextGenerator` that continues texts with the JAX decoder in this process."""

from collections.abc import Generator, Sequence
from dataclasses import replace

from llm_jax.config import Execution
from llm_jax.decode import loop
from llm_jax.decode.options import Sampling
from llm_jax.decode.prompts import encode_prompt
from llm_jax.decode.suggested import suggested_sampling
from llm_jax.models import decoder
from llm_jax.tokenizer import chat
from serve.models import Model
from serve.text.config import Message, Piece, Settings
from serve.text.continuation import Continuation
from serve.text.stopping import Interrupted


class Local:
    """A `TextGenerator`. Its weights are stored for batches of `n_texts`; it decodes batches of any size."""

    def __init__(self, model: Model, n_texts: int = 1, consumes: bool = False):
        """`consumes`: the model's parameters are deleted as they are prepared: memory never holds them twice."""
        self.name, self._config, self._tokenizer = model.name, model.config, model.tokenizer
        self._folder = model.folder
        self._plan = decoder.make_plan(Execution())
        self._params = loop.prepare(model.params, self._plan, n_texts, model.weights, consumes)

    def sampling(self, otherwise: Sampling) -> Sampling:
        """See `TextGenerator`."""
        return suggested_sampling(self._folder, otherwise)

    def stream(self, text: str, settings: Settings) -> Generator[str, None, None]:
        """See `TextGenerator`."""
        for piece in self.stream_all([text], settings):
            yield piece.texts[0]

    def stream_all(self, texts: Sequence[str], settings: Settings) -> Generator[Piece, None, None]:
        """See `TextGenerator`. All texts are one batch. When interrupted, yields the text held back, and ends."""
        return self._continue([encode_prompt(self._tokenizer, text) for text in texts], settings)

    @property
    def chats(self) -> bool:
        """See `Chatting`."""
        return self._tokenizer.chat is not None

    def reply(self, messages: Sequence[Message], settings: Settings) -> Generator[str, None, None]:
        """See `Chatting`. An answer gets at most as many tokens as are left in the context."""
        prompt = chat.encode(self._tokenizer, messages)
        room = max(1, self._config.context_length - len(prompt))
        fitting = replace(settings, max_new_tokens=min(settings.max_new_tokens, room))
        hidden = {number for token, number in self._tokenizer.special_tokens.items() if token not in settings.stops}
        for piece in self._continue([prompt], fitting, frozenset(hidden)):
            yield piece.texts[0]

    def _continue(
        self, prompts: Sequence[Sequence[int]], settings: Settings, hidden: frozenset[int] = frozenset()
    ) -> Generator[Piece, None, None]:
        tokenizer = self._tokenizer
        rows = [Continuation(tokenizer, settings.stops, hidden=hidden, prompt=prompt) for prompt in prompts]
        sampling, ends = settings.sampling, tokenizer.borders.stops
        arguments = (sampling, settings.max_new_tokens, ends, settings.chunk)
        try:
            for new in loop.stream(self._params, prompts, self._config, self._plan, *arguments):
                yield _piece(rows, new)
                if all(row.stopped for row in rows):
                    return
        except Interrupted:
            pass
        yield Piece([row.finish() for row in rows], 0)


def _piece(rows: Sequence[Continuation], new: Sequence[Sequence[int]]) -> Piece:
    """The text that becomes final with the new tokens of each row. Tokens after a stop text do not count."""
    texts, n_tokens = [], 0
    for row, tokens in zip(rows, new, strict=True):
        text = ""
        for token in tokens:
            if row.stopped:
                break
            text += row.push(token)
            n_tokens += 1
        texts.append(text)
    return Piece(texts, n_tokens)
