"""A program's answers: greedy tokens with log-probabilities and margins; log-likelihoods of given texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from llm_jax.scoring.requests import Request

Prompts = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Continuations:
    """Arrays with a row for each prompt and a column for each new token."""

    tokens: np.ndarray  # ids
    log_probabilities: np.ndarray  # of each token, nats
    margins: np.ndarray  # between the most likely token and the second

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name).tolist() for name in ("tokens", "log_probabilities", "margins")}


def continuations_from(values: dict[str, Any]) -> Continuations:
    """The inverse of `Continuations.to_json`."""
    return Continuations(
        np.array(values["tokens"], np.int64), np.array(values["log_probabilities"]), np.array(values["margins"])
    )


@dataclass(frozen=True)
class Answers:
    """All answers of a program."""

    continuations: Continuations
    log_likelihoods: np.ndarray | None = None  # nats, of each request; None if the program does not score texts


class ComparedModel(Protocol):
    """The model as one program runs it. Raises RuntimeError or ConnectionError if the program fails."""

    name: str

    def answer(self, prompts: Prompts, n_tokens: int, requests: Sequence[Request]) -> Answers:
        """Greedy continuations of exactly `n_tokens` tokens, and the log-likelihoods of the requests.

        A token that ends a text does not end a continuation.
        """
        ...
