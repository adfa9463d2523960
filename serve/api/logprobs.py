"""Log-probabilities in OpenAI's two forms, for completions and for chats."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llm_jax.tokenizer import StreamDecoder, Tokenizer
from serve.api.decoding.batch import Scored


@dataclass
class Logprobs:
    """OpenAI's four parallel lists, which grow token by token."""

    tokenizer: Tokenizer
    prompt: Sequence[int] = ()
    echoes: bool = False  # whether the prompt's tokens come first
    offset: int = 0  # characters of the text so far; a character of several tokens begins at each of them
    tokens: list[str] = field(default_factory=list)
    token_logprobs: list[float | None] = field(default_factory=list)
    top_logprobs: list[dict[str, float] | None] = field(default_factory=list)
    text_offset: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stream = StreamDecoder(self.tokenizer, () if self.echoes else self.prompt)

    def add(self, scored: Scored) -> None:
        text = self._text(scored.token)
        self.tokens.append(text)
        self.token_logprobs.append(scored.logprob)
        self.text_offset.append(self.offset)
        self.offset += len(self._stream.push(scored.token))
        if scored.logprob is None:
            self.top_logprobs.append(None)
            return
        # Includes the chosen token. Of two tokens with the same text the likelier one is kept.
        top: dict[str, float] = {}
        for token, logprob in (*scored.top, (scored.token, scored.logprob)):
            top.setdefault(self._text(token), logprob)
        self.top_logprobs.append(top)

    def end_of_prompt(self) -> None:
        """Ends the prompt's text: the answer's text follows it, and no character belongs to both."""
        self.offset += len(self._stream.finish())
        self._stream = StreamDecoder(self.tokenizer, self.prompt)

    def take(self) -> dict[str, list]:
        """The entries added since the last call."""
        names = ("tokens", "token_logprobs", "top_logprobs", "text_offset")
        taken = {name: getattr(self, name) for name in names}
        for name in names:
            setattr(self, name, [])
        return taken

    def _text(self, token: int) -> str:
        return _bytes_of(self.tokenizer, token).decode("utf8", errors="replace")


@dataclass
class ChatLogprobs:
    """One list of objects, a token each."""

    tokenizer: Tokenizer
    n_top: int
    content: list[dict[str, Any]] = field(default_factory=list)

    def add(self, scored: Scored) -> None:
        top = [self._entry(token, logprob) for token, logprob in scored.top[: self.n_top]]
        self.content.append(self._entry(scored.token, scored.logprob) | {"top_logprobs": top})

    def take(self) -> dict[str, list]:
        """The entries added since the last call."""
        taken, self.content = self.content, []
        return {"content": taken}

    def _entry(self, token: int, logprob: float | None) -> dict[str, Any]:
        raw = _bytes_of(self.tokenizer, token)
        return {"token": raw.decode("utf8", errors="replace"), "logprob": logprob, "bytes": list(raw)}


def _bytes_of(tokenizer: Tokenizer, token: int) -> bytes:
    """No bytes for an id without a token, which may be among the most likely ones."""
    return b"" if tokenizer.id_to_token(token) is None else tokenizer.token_bytes(token)
