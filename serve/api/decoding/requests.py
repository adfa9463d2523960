"""The engine's input and output: one sequence to decode, and the events that it gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from llm_jax.decode.options import Adjustment, Sampling
from serve.api.decoding.batch import UNCHANGED, Scored


@dataclass(frozen=True)
class Ended:
    """No more tokens. `error` where the request could not be finished."""

    reason: Literal["stop", "length", "error"]
    error: str = ""
    stop_token: Scored | None = field(default=None, compare=False)  # the token that ended it; it adds no text


Event = Scored | list[Scored] | Ended  # a new token; the scored tokens of the prompt; the end


@dataclass(eq=False)
class Request:
    """One sequence to decode."""

    prompt: Sequence[int]
    sampling: Sampling
    max_new_tokens: int  # 0: only the prompt is scored
    deliver: Callable[[Event], None]
    stop_tokens: frozenset[int] = frozenset()
    adjustment: Adjustment = UNCHANGED
    n_top: int = 0
    score_prompt: bool = False
    adapter: int = 0  # its number, from 1; 0: the base alone
    pictures: Sequence[np.ndarray] = ()  # squares, whose placeholders the prompt has
    n_new: int = field(default=0, init=False)
    cancelled: bool = field(default=False, init=False)  # set when nobody reads the answer any more


class Full(Exception):
    """The queue is full."""


class Closing(Exception):
    """The server takes no more requests, because it ends."""
