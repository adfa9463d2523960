"""Reads a request's JSON object field by field, with types; a field that is left over is unknown or not computed.

A field that would change the answer and is not computed is refused by name, not ignored. It is accepted only with a
value that changes nothing, such as its default. The lists hold the fields of vLLM's `CompletionRequest`, of OpenAI's
completions, and of OpenAI's chat completions where clients send them along.
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

# Not computed here, and the values, beside null, at which they change nothing.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    # OpenAI's
    "suffix": ("",),
    "response_format": ({"type": "text"},),
    "store": (False,),
    "modalities": (["text"],),
    "top_logprobs": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "reasoning_effort": ("none",),
    "verbosity": ("medium",),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
    # vLLM's
    "use_beam_search": (False,),
    "length_penalty": (1,),
    "early_stopping": (False,),
    "include_stop_str_in_output": (False,),
    "truncate_prompt_tokens": (),
    "prompt_logprobs": (),
    "logprob_token_ids": ([],),
    "prompt_embeds": ([],),
    "bad_words": ([],),
    "structured_outputs": (),
    "priority": (0,),
    "return_tokens_as_token_ids": (False,),
    "return_token_ids": (False,),
    "routed_experts_prompt_start": (0,),
    "kv_transfer_params": ({},),
    "ec_transfer_params": ({},),
    "vllm_xargs": ({},),
    "logits_processors": ([],),
    "repetition_detection": ({},),
    "thinking_token_budget": (-1,),
    "stream_interval": (1,),
    "watermarking": (False,),
    **dict.fromkeys(
        (f"guided_{kind}" for kind in ("json", "regex", "choice", "grammar", "decoding_backend", "whitespace_pattern")),
        (),
    ),
}
NEUTRAL_IN_STREAMS: dict[str, tuple[Any, ...]] = {"include_obfuscation": (False,)}
# No answer depends on them: who asks, what is cached, and what vLLM ignores outside its other routes. These
# vocabularies put no spaces between special tokens.
IGNORED = (
    *("service_tier", "user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"),
    *("request_id", "session_id", "cache_salt", "spaces_between_special_tokens"),
    *("truncation_side", "return_token_offsets", "return_mm_kwargs", "mm_payload"),
)


class Fields:
    """A JSON object whose fields are taken out one by one; null is the default."""

    def __init__(self, values: dict[str, Any]):
        self._values, self._known = dict(values), set()

    def take(self, name: str, kind: type | tuple[type, ...], default: Any) -> Any:
        """Raises ValueError for another type."""
        self._known.add(name)
        value = self._values.pop(name, None)
        if value is None:
            return default
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if int in kinds and isinstance(value, float) and value.is_integer():
            value = int(value)  # such as 7.0: in JSON whole numbers and others are one type
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            wanted = " or ".join(sorted(k.__name__ for k in kinds))
            raise ValueError(f"{name} must be {wanted}; got {type(value).__name__}")
        return value

    def between(self, name: str, low: int, high: int, default: int | None) -> Any:
        """A whole number."""
        value = self.take(name, int, default)
        if value is not None and not low <= value <= high:
            raise ValueError(f"{name} must lie between {low} and {high}; got {value}")
        return value

    def number(self, name: str, default: float) -> float:
        return as_float(name, self.take(name, (int, float), default))

    def tokens(self, name: str, vocab_size: int) -> list[int] | None:
        """Ids that the model knows."""
        values = self.take(name, list, None)
        for value in values or ():
            check_token(name, value, vocab_size)
        return values

    def neutral(self, name: str, *allowed: Any) -> None:
        """A field that is not computed here: raises ValueError unless its value changes nothing, as null does."""
        value = self._values.pop(name, None)
        if value is not None and value not in allowed:
            raise ValueError(f"{name} is not computed by this server: leave it out")

    def finish(self, neutral: Mapping[str, Sequence[Any]], ignored: Sequence[str] = ()) -> None:
        """Raises ValueError if a field is left that is not known, or known and not computed here."""
        for name in list(self._values):
            if name in ignored:
                continue
            if name not in neutral:
                close = difflib.get_close_matches(name, self._known, n=1)
                raise ValueError(f"unknown field {name!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
            self.neutral(name, *neutral[name])


def as_float(name: str, value: float) -> float:
    """JSON's whole numbers may be larger than any float."""
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} is too large: a number of {len(str(value))} digits") from None


def check_token(name: str, value: Any, vocab_size: int) -> None:
    """Raises ValueError unless it is an id of the vocabulary."""
    if type(value) is not int:
        raise ValueError(f"{name} must hold token ids, which are whole numbers; got {str(value)[:40]!r}")
    if not 0 <= value < vocab_size:
        raise ValueError(f"{name} holds the token id {str(value)[:40]}; this model knows 0 to {vocab_size - 1}")
