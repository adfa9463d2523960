"""OpenAI's completions interface as values: the fields of a request, and the forms of an answer.

Every field is checked; a field that is not computed is refused by name (`serve.api.fields`). Where OpenAI has no such
field, names and meanings are vLLM's: `top_k`, `min_tokens`, `ignore_eos`, `skip_special_tokens`, `echo` with
`logprobs`. One default differs: special tokens after which an answer continues are part of its text.
"""

import math
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from llm_jax.decode.options import LEAST_SEED, Adjustment, Sampling
from llm_jax.decode.prompts import encode_prompt
from llm_jax.tokenizer import Tokenizer
from serve.api.decoding.batch import MOST_TOP
from serve.api.fields import IGNORED, NEUTRAL, NEUTRAL_IN_STREAMS, Fields, as_float, check_token

MOST_STOPS = 16
LARGEST_BIAS = 100.0
NO_ADAPTERS: Mapping[str, Tokenizer] = {}
ANY = 10**9  # tokens; the context is a smaller bound


@dataclass(frozen=True)
class Asked:
    """A completion request, checked."""

    prompts: tuple[tuple[int, ...], ...]
    max_tokens: int
    n: int
    sampling: Sampling  # with the first sequence's seed; each further one has the next seed
    adjustment: Adjustment  # its `ends` are empty: they come from the tokenizer
    stops: tuple[str, ...]
    stop_tokens: frozenset[int]  # in addition to those that end a text by the tokenizer's files
    n_top: int | None  # None: no log-probabilities
    echo: bool
    stream: bool
    include_usage: bool
    continuous_usage: bool  # counts in every piece of a stream
    ignore_eos: bool
    skip_special_tokens: bool
    is_chat: bool = False
    adapter: int = 0  # the number of the adapter that it names as its model, from 1; 0: the base
    pictures: tuple[np.ndarray, ...] = field(default=(), compare=False)  # squares; the prompt has their placeholders


class Unknown(Exception):
    """The request names another model."""


def read(
    body: dict[str, Any],
    tokenizer: Tokenizer,
    model: str,
    context: int,
    most: int,
    adapters: Mapping[str, Tokenizer] = NO_ADAPTERS,
) -> Asked:
    """Raises Unknown for another model, ValueError that names the field for everything else.

    `most`: sequences. `adapters`: the tokenizer of each.
    """
    fields, adapter = of_model(body, model, adapters)
    tokenizer = (tokenizer, *adapters.values())[adapter]
    adds_begin = fields.take("add_special_tokens", bool, True)
    prompts = _prompts(fields.take("prompt", (str, list), ""), tokenizer, adds_begin)
    echo, n_top = fields.take("echo", bool, False), fields.between("logprobs", 0, MOST_TOP, None)
    room = context - max(map(len, prompts))
    new = max_tokens(fields, 0 if echo else 1, min(16, max(1, room)))
    asked = shared(fields, prompts, tokenizer, new, most)
    fields.neutral("best_of", 1, asked.n)
    fields.finish(NEUTRAL, IGNORED)
    check_lengths(asked, context)
    return replace(asked, n_top=n_top, echo=echo, adapter=adapter)


def of_model(body: dict[str, Any], model: str, adapters: Iterable[str] = ()) -> tuple[Fields, int]:
    """The fields of a request, and the number of the adapter that it names, from 1; 0 for the base.

    Raises Unknown if it names another model.
    """
    fields, names = Fields(body), [model, *adapters]
    if (name := fields.take("model", str, model)) not in names:
        raise Unknown(f"there is no model {name!r} here; this server has {', '.join(map(repr, names))}")
    return fields, names.index(name)


def shared(fields: Fields, prompts: tuple[tuple[int, ...], ...], tokenizer: Tokenizer, n_new: int, most: int) -> Asked:
    """What completions and chats have in common; without log-probabilities and echo."""
    n = fields.between("n", 1, most, 1)
    if n * len(prompts) > most:
        raise ValueError(
            f"{len(prompts)} prompts × n={n} are {n * len(prompts)} sequences; a request may ask for {most}"
        )
    stream = fields.take("stream", bool, False)
    usage = Fields(fields.take("stream_options", dict, {}))
    include_usage = usage.take("include_usage", bool, False)
    continuous_usage = usage.take("continuous_usage_stats", bool, False) and include_usage
    usage.finish(NEUTRAL_IN_STREAMS)
    return Asked(
        prompts=prompts,
        max_tokens=n_new,
        n=n,
        sampling=_sampling(fields),
        adjustment=_adjustment(fields, n_new, tokenizer.vocab_size),
        stops=_stops(fields),
        stop_tokens=frozenset(fields.tokens("stop_token_ids", tokenizer.vocab_size) or ()),
        n_top=None,
        echo=False,
        stream=stream,
        include_usage=include_usage,
        continuous_usage=continuous_usage,
        ignore_eos=fields.take("ignore_eos", bool, False),
        skip_special_tokens=fields.take("skip_special_tokens", bool, False),
    )


def max_tokens(fields: Fields, least: int, default: int) -> int:
    """`max_completion_tokens` is the newer name of `max_tokens`, and wins where both are given."""
    wanted = fields.between("max_tokens", least, ANY, default)
    return fields.between("max_completion_tokens", least, ANY, wanted)


def _sampling(fields: Fields) -> Sampling:
    return Sampling(
        temperature=fields.number("temperature", 1.0),
        top_k=max(fields.between("top_k", -1, ANY, 0), 0),
        top_p=fields.number("top_p", 1.0),
        min_p=fields.number("min_p", 0.0),
        seed=fields.between("seed", LEAST_SEED, -LEAST_SEED - 1, secrets.randbits(63)),
    )


def _adjustment(fields: Fields, max_tokens: int, vocab_size: int) -> Adjustment:
    min_tokens = fields.between("min_tokens", 0, ANY, 0)
    if min_tokens > max_tokens:
        raise ValueError(f"min_tokens must be at most max_tokens={max_tokens}; got {min_tokens}")
    allowed = fields.tokens("allowed_token_ids", vocab_size)
    if allowed == []:
        raise ValueError("allowed_token_ids is empty, so no token could be chosen: leave it out to allow all")
    return Adjustment(
        presence_penalty=fields.number("presence_penalty", 0.0),
        frequency_penalty=fields.number("frequency_penalty", 0.0),
        repetition_penalty=fields.number("repetition_penalty", 1.0),
        logit_bias=_logit_bias(fields.take("logit_bias", dict, {}), vocab_size),
        min_tokens=min_tokens,
        allowed_tokens=None if allowed is None else frozenset(allowed),
    )


def _logit_bias(given: dict[str, Any], vocab_size: int) -> tuple[tuple[int, float], ...]:
    """JSON's keys are texts. Biases outside OpenAI's bounds are set to the bounds, as vLLM does."""
    biases: dict[int, float] = {}
    for key, value in given.items():
        try:
            token = int(key)
        except ValueError:
            raise ValueError(f"logit_bias must map token ids to numbers; got the key {key[:40]!r}") from None
        check_token("logit_bias", token, vocab_size)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"logit_bias must map token ids to numbers; got {str(value)[:40]!r} for {key}")
        if math.isnan(bias := as_float("logit_bias", value)):
            raise ValueError(f"logit_bias must map token ids to numbers; got NaN for {key}")
        biases[token] = min(max(bias, -LARGEST_BIAS), LARGEST_BIAS)
    return tuple(biases.items())


def _stops(fields: Fields) -> tuple[str, ...]:
    stop = fields.take("stop", (str, list), [])
    stops = [stop] if isinstance(stop, str) else stop
    if len(stops) > MOST_STOPS or not all(isinstance(text, str) and text for text in stops):
        raise ValueError(f"stop must be up to {MOST_STOPS} texts, none of them empty")
    return tuple(stops)


def check_lengths(asked: Asked, context: int) -> None:
    """Raises ValueError where a prompt and its new tokens do not fit."""
    for prompt in asked.prompts:
        _check_length(len(prompt), asked.max_tokens, context)


def _check_length(length: int, max_tokens: int, context: int) -> None:
    if length + max_tokens <= context:
        return
    room = context - length
    least = min(max_tokens, 1)  # a prompt that is only scored may be as long as the context
    cure = f"ask for {room} or fewer" if room > 0 else f"shorten the prompt to {context - least} tokens or fewer"
    raise ValueError(
        f"the prompt has {length} tokens and {max_tokens} new ones are asked for; this model's maximum context length "
        f"is {context} tokens: {cure}"
    )


def _prompts(given: str | list, tokenizer: Tokenizer, adds_begin: bool) -> tuple[tuple[int, ...], ...]:
    """A text, several texts, ids, or several lists of ids. Before a text stand the tokenizer's own, if `adds_begin`."""

    def encoded(text: str) -> tuple[int, ...]:
        bare = bool(text) and not adds_begin
        return tuple(tokenizer.encode(text, allowed_special="all") if bare else encode_prompt(tokenizer, text))

    wrong = ValueError("prompt must be a text, a list of texts, a list of token ids, or a list of lists of token ids")
    if isinstance(given, str):
        return (encoded(given),)
    if not given:
        raise ValueError("prompt is an empty list: give at least one text or token")
    if all(type(item) is int for item in given):
        given = [given]
    prompts = []
    for item in given:
        if isinstance(item, str):
            prompts.append(encoded(item))
        elif isinstance(item, list) and item and all(type(token) is int for token in item):
            prompts.append(tuple(item))
        else:
            raise wrong
    for token in (token for prompt in prompts for token in prompt):
        check_token("prompt", token, tokenizer.vocab_size)
    return tuple(prompts)


@dataclass(frozen=True)
class Head:
    """The fields that an answer and every piece of a streamed answer begin with."""

    model: str
    kind: str = "text_completion"
    identity: str = field(default_factory=lambda: f"cmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))  # seconds since 1970


def answer(head: Head, choices: Sequence[dict], usage: dict[str, int] | None) -> dict[str, Any]:
    """A whole answer, or one piece of a streamed one."""
    fields = {"id": head.identity, "object": head.kind, "created": head.created, "model": head.model}
    return fields | {"choices": list(choices)} | ({"usage": usage} if usage else {})


def choice(
    index: int, text: str, logprobs: dict | None, reason: str | None, stop_reason: int | str | None = None
) -> dict[str, Any]:
    """`stop_reason` is vLLM's: the stop text or the token of `stop_token_ids` that ended it."""
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason, "stop_reason": stop_reason}


def usage(n_prompt: int, n_new: int) -> dict[str, int]:
    return {"prompt_tokens": n_prompt, "completion_tokens": n_new, "total_tokens": n_prompt + n_new}
