"""What a side answers: the tokens greedy decoding chose, and how sure it was; log-likelihoods of given texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from llm_jax.scoring.requests import Request

Prompts = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Continuations:
    """One row a prompt, one column a new token."""

    tokens: np.ndarray  # ids
    log_probabilities: np.ndarray  # of each token, nats
    margins: np.ndarray  # between the most likely token and the second

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name).tolist() for name in ("tokens", "log_probabilities", "margins")}


def continuations_from(values: dict[str, Any]) -> Continuations:
    return Continuations(
        np.array(values["tokens"], np.int64), np.array(values["log_probabilities"]), np.array(values["margins"])
    )


@dataclass(frozen=True)
class Answers:
    """A side's answers to everything that is asked."""

    continuations: Continuations
    log_likelihoods: np.ndarray | None = None  # nats, of each request; None where this side was not asked


class Side(Protocol):
    """A way to run the model. Raises RuntimeError or ConnectionError where it breaks down."""

    name: str

    def answer(self, prompts: Prompts, n_tokens: int, requests: Sequence[Request]) -> Answers:
        """Greedy continuations of `n_tokens` tokens, whatever they are, and log-likelihoods of the requests."""
        ...
