"""Which ids begin, end and pad a text: read from the files of a tokenizer or model, never guessed from a spelling.

    begin   tokenizer_config.json or special_tokens_map.json: bos_token; where the tokenizer names neither a beginning
            nor an end, bos_token_id of generation_config.json, else of config.json
    end     the tokenizer's eos_token; else the first of eos_token_id
    stops   eos_token_id of generation_config.json, else of config.json (an id or a list), and the tokenizer's end: what
            vLLM stops at
    pad     the tokenizer's pad_token; else pad_token_id
    prefix  what the post-processor of tokenizer.json puts before a text; where there is no tokenizer.json, the
            beginning, if tokenizer_config.json has add_bos_token: as in transformers 5

Where the files of a GPT-2 leave a name out, the defaults of its classes in transformers apply: `<|endoftext|>` and id
50256. An id or a default name that the vocabulary does not have is ignored, because no text can contain it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llm_jax.tokenizer.hf_files.companions import Companions

GPT2_END_ID = 50256  # of GPT2Config, where a config.json says nothing


@dataclass(frozen=True)
class Borders:
    """The ids at the borders of a text; None or empty where there are none."""

    begin: int | None = None
    end: int | None = None
    stops: tuple[int, ...] = ()  # all ids that end a continuation, `end` among them
    pad: int | None = None
    prefix: tuple[int, ...] = ()  # stands before every prompt; documents in training get `between`

    @classmethod
    def of_one(cls, number: int) -> "Borders":
        """One id that both begins and ends, as `<|endoftext|>` does."""
        return cls(number, number, (number,))

    @property
    def start(self) -> tuple[int, ...]:
        """What stands before a text without context: the beginning, else the end, as in lm-evaluation-harness."""
        first = self.end if self.begin is None else self.begin
        return () if first is None else (first,)

    @property
    def between(self) -> tuple[int, ...]:
        """What precedes each document in training: the end of the one before, and the beginning, if that is another id.

        >>> Borders(begin=1, end=2).between, Borders.of_one(5).between
        ((2, 1), (5,))
        """
        ids = (number for number in (self.end, self.begin) if number is not None)
        return tuple(dict.fromkeys(ids))


def read(
    files: Companions, id_of: Callable[[str], int | None], vocab_size: int, prefix: tuple[int, ...] | None = None
) -> Borders:
    """The borders that the files beside a tokenizer name; `id_of` gives a token's id, None for what is no token.

    `prefix`: what the tokenizer puts before a text; None where tokenizer_config.json decides that.

    Raises ValueError naming file and field for a value that is no id.
    """

    def named(field: str) -> int | None:
        token = files.named_token(field)
        return None if token is None else id_of(token)

    def numbered(field: str) -> tuple[int, ...]:
        """The ids of the first file that has the field; null means none."""
        for path, content in files.of_the_model():
            if field in content:
                return _known(_ids(path, field, content[field]), vocab_size)
        is_gpt2 = files.config.get("model_type") == "gpt2" and field != "pad_token_id"
        return _known([GPT2_END_ID], vocab_size) if is_gpt2 else ()

    begin, end = named("bos_token"), named("eos_token")
    stops = numbered("eos_token_id")
    if begin is None and end is None:
        begin = next(iter(numbered("bos_token_id")), None)
    if end is None:
        end = next(iter(stops), None)
    elif end not in stops:
        stops = (*stops, end)
    pad = named("pad_token")
    if pad is None:
        pad = next(iter(numbered("pad_token_id")), None)
    if prefix is None:
        adds = files.tokenizer_config.get("add_bos_token") is True
        prefix = (begin,) if adds and begin is not None else ()
    return Borders(begin, end, stops, pad, prefix)


def _ids(path: Any, field: str, value: Any) -> list[int]:
    found = value if isinstance(value, list) else [] if value is None else [value]
    if wrong := [one for one in found if type(one) is not int]:
        raise ValueError(
            f"{path}: {field} is {value!r}; expected a token's id, a list of ids or null, not {wrong[0]!r}"
        )
    return found


def _known(ids: Sequence[int], vocab_size: int) -> tuple[int, ...]:
    return tuple(dict.fromkeys(number for number in ids if 0 <= number < vocab_size))
