"""OpenAI's completions interface as values: what a request may say, and the forms of an answer.

Every field is checked, and a field that would change the answer but is not computed here is refused by name, not
ignored: it is taken only with a value that changes nothing, such as OpenAI's own default. The names and meanings are
vLLM's where OpenAI has none: `top_k`, `ignore_eos`, `echo` with `logprobs`.
"""

import difflib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llm_jax.decode.options import LEAST_SEED, Sampling
from llm_jax.decode.prompts import encode_prompt
from llm_jax.tokenizer import StreamDecoder, Tokenizer
from serve.api.batch import MOST_TOP, Scored

MOST_STOPS = 16
# Fields that other servers compute, and the value, beside null, at which they change nothing.
NEUTRAL: dict[str, Any] = {
    "suffix": "",
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "repetition_penalty": 1,
    "logit_bias": {},
    "min_p": 0,
    "min_tokens": 0,
}
NEUTRAL_IN_STREAMS: dict[str, Any] = {"continuous_usage_stats": False, "include_obfuscation": False}
# No answer depends on them: these vocabularies add no special tokens to a prompt.
IGNORED = ("user", "metadata", "add_special_tokens", "request_id")


@dataclass(frozen=True)
class Asked:
    """A completion request, checked."""

    prompts: tuple[tuple[int, ...], ...]
    max_tokens: int
    n: int
    sampling: Sampling  # the seed is the first sequence's; the next ones count on
    stops: tuple[str, ...]
    n_top: int | None  # None: no log-probabilities
    echo: bool
    stream: bool
    include_usage: bool
    ignore_eos: bool


class Unknown(Exception):
    """Another model is asked for."""


class Fields:
    """A JSON object whose fields are taken out one by one, each with its type; what is left over is unknown."""

    def __init__(self, values: dict[str, Any]):
        self._values, self._known = dict(values), set()

    def take(self, name: str, kind: type | tuple[type, ...], default: Any) -> Any:
        """Null means the default. Raises ValueError for another type."""
        self._known.add(name)
        value = self._values.pop(name, None)
        if value is None:
            return default
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            wanted = " or ".join(sorted(k.__name__ for k in kinds))
            raise ValueError(f"{name} must be {wanted}; got {type(value).__name__}")
        return value

    def between(self, name: str, low: int, high: int, default: int | None) -> Any:
        value = self.take(name, int, default)
        if value is not None and not low <= value <= high:
            raise ValueError(f"{name} must lie between {low} and {high}; got {value}")
        return value

    def number(self, name: str, default: float) -> float:
        """JSON's whole numbers may be larger than any float."""
        value = self.take(name, (int, float), default)
        try:
            return float(value)
        except OverflowError:
            raise ValueError(f"{name} is too large: a number of {len(str(value))} digits") from None

    def neutral(self, name: str, *allowed: Any) -> None:
        """A field that is not computed here: raises ValueError unless its value changes nothing, as null does."""
        value = self._values.pop(name, None)
        if value is not None and value not in allowed:
            raise ValueError(f"{name} is not computed by this server: leave it out")

    def finish(self, neutral: dict[str, Any], ignored: Sequence[str] = ()) -> None:
        """Raises ValueError if a field is left that is not known, or known and not computed here."""
        for name in list(self._values):
            if name in ignored:
                continue
            if name not in neutral:
                close = difflib.get_close_matches(name, self._known, n=1)
                raise ValueError(f"unknown field {name!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
            self.neutral(name, neutral[name])


def read(body: dict[str, Any], tokenizer: Tokenizer, model: str, context: int, most: int) -> Asked:
    """Raises Unknown for another model, ValueError that names the field for everything else. `most`: sequences."""
    fields = Fields(body)
    if (name := fields.take("model", str, model)) != model:
        raise Unknown(f"there is no model {name!r} here; this server has {model!r}")
    prompts = _prompts(fields.take("prompt", (str, list), ""), tokenizer)
    n = fields.between("n", 1, most, 1)
    if n * len(prompts) > most:
        raise ValueError(
            f"{len(prompts)} prompts × n={n} are {n * len(prompts)} sequences; a request may ask for {most}"
        )
    echo, n_top = fields.take("echo", bool, False), fields.between("logprobs", 0, MOST_TOP, None)
    room = context - max(map(len, prompts))
    max_tokens = fields.between("max_tokens", 0 if echo else 1, 10**9, min(16, max(1, room)))
    top_k = fields.between("top_k", -1, 10**9, 0)
    sampling = Sampling(
        temperature=fields.number("temperature", 1.0),
        top_k=max(top_k, 0),
        top_p=fields.number("top_p", 1.0),
        seed=fields.between("seed", LEAST_SEED, -LEAST_SEED - 1, secrets.randbits(63)),
    )
    stop = fields.take("stop", (str, list), [])
    stops = [stop] if isinstance(stop, str) else stop
    if len(stops) > MOST_STOPS or not all(isinstance(text, str) and text for text in stops):
        raise ValueError(f"stop must be up to {MOST_STOPS} texts, none of them empty")
    stream = fields.take("stream", bool, False)
    usage = Fields(fields.take("stream_options", dict, {}))
    include_usage = usage.take("include_usage", bool, False)
    usage.finish(NEUTRAL_IN_STREAMS)
    ignore_eos = fields.take("ignore_eos", bool, False)
    fields.neutral("best_of", 1, n)
    # An answer may show a special token only if it goes on after one.
    fields.neutral("skip_special_tokens", False, not ignore_eos)
    fields.finish(NEUTRAL, IGNORED)
    for prompt in prompts:
        _check_length(len(prompt), max_tokens, context)
    return Asked(prompts, max_tokens, n, sampling, tuple(stops), n_top, echo, stream, include_usage, ignore_eos)


def _check_length(length: int, max_tokens: int, context: int) -> None:
    if length + max_tokens <= context:
        return
    room = context - length
    least = min(max_tokens, 1)  # a prompt that is only scored may fill the context
    cure = f"ask for {room} or fewer" if room > 0 else f"shorten the prompt to {context - least} tokens or fewer"
    raise ValueError(
        f"the prompt has {length} tokens and {max_tokens} new ones are asked for; this model's maximum context length "
        f"is {context} tokens: {cure}"
    )


def _prompts(given: str | list, tokenizer: Tokenizer) -> tuple[tuple[int, ...], ...]:
    """A text, several texts, ids, or several lists of ids."""
    wrong = ValueError("prompt must be a text, a list of texts, a list of token ids, or a list of lists of token ids")
    if isinstance(given, str):
        return (tuple(encode_prompt(tokenizer, given)),)
    if not given:
        raise ValueError("prompt is an empty list: give at least one text or token")
    if all(type(item) is int for item in given):
        given = [given]
    prompts = []
    for item in given:
        if isinstance(item, str):
            prompts.append(tuple(encode_prompt(tokenizer, item)))
        elif isinstance(item, list) and item and all(type(token) is int for token in item):
            prompts.append(tuple(item))
        else:
            raise wrong
    for token in (token for prompt in prompts for token in prompt):
        if not 0 <= token < tokenizer.vocab_size:
            raise ValueError(f"prompt holds the token id {token}; this model knows 0 to {tokenizer.vocab_size - 1}")
    return tuple(prompts)


@dataclass
class Logprobs:
    """OpenAI's four parallel lists, which grow token by token."""

    tokenizer: Tokenizer
    offset: int = 0  # characters of the text so far; one that is cut over several tokens begins at each of them
    tokens: list[str] = field(default_factory=list)
    token_logprobs: list[float | None] = field(default_factory=list)
    top_logprobs: list[dict[str, float] | None] = field(default_factory=list)
    text_offset: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stream = StreamDecoder(self.tokenizer)

    def add(self, scored: Scored) -> None:
        text = self._text(scored.token)
        self.tokens.append(text)
        self.token_logprobs.append(scored.logprob)
        self.text_offset.append(self.offset)
        self.offset += len(self._stream.push(scored.token))
        if scored.logprob is None:
            self.top_logprobs.append(None)
            return
        # The chosen token is always among them; of two tokens that look alike the likelier one is kept.
        top: dict[str, float] = {}
        for token, logprob in (*scored.top, (scored.token, scored.logprob)):
            top.setdefault(self._text(token), logprob)
        self.top_logprobs.append(top)

    def end_of_prompt(self) -> None:
        """What comes next is another text, which the answer shows after the prompt's: no character is in both."""
        self.offset += len(self._stream.finish())

    def take(self) -> dict[str, list]:
        """What was added since the last time."""
        names = ("tokens", "token_logprobs", "top_logprobs", "text_offset")
        taken = {name: getattr(self, name) for name in names}
        for name in names:
            setattr(self, name, [])
        return taken

    def _text(self, token: int) -> str:
        return self.tokenizer.decode_bytes([token]).decode("utf8", errors="replace")


@dataclass(frozen=True)
class Head:
    """What an answer begins with, and every piece of a streamed one."""

    model: str
    identity: str = field(default_factory=lambda: f"cmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))  # seconds since 1970


def answer(head: Head, choices: Sequence[dict], usage: dict[str, int] | None) -> dict[str, Any]:
    """A whole answer, or one piece of a streamed one."""
    fields = {"id": head.identity, "object": "text_completion", "created": head.created, "model": head.model}
    return fields | {"choices": list(choices)} | ({"usage": usage} if usage else {})


def choice(index: int, text: str, logprobs: dict | None, reason: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}


def usage(n_prompt: int, n_new: int) -> dict[str, int]:
    return {"prompt_tokens": n_prompt, "completion_tokens": n_new, "total_tokens": n_prompt + n_new}
