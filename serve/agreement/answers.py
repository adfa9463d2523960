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
    """A program's answers to everything that is asked."""

    continuations: Continuations
    log_likelihoods: np.ndarray | None = None  # nats, of each request; None where this program was not asked


class ComparedModel(Protocol):
    """The model as one program runs it. Raises RuntimeError or ConnectionError if the program fails."""

    name: str

    def answer(self, prompts: Prompts, n_tokens: int, requests: Sequence[Request]) -> Answers:
        """Greedy continuations of `n_tokens` tokens, ends of texts included, and log-likelihoods of the requests."""
        ...
