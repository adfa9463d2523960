"""Settings of a continuation, and the interface of a source of continuations. Imports no JAX."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from llm_jax.decode.options import Sampling


@dataclass(frozen=True)
class Settings:
    """Settings of a continuation. Text number i, counted from 0, is sampled with the seed `sampling.seed` + i."""

    sampling: Sampling
    max_new_tokens: int  # for each text
    stops: tuple[str, ...] = ()  # texts before which a continuation ends
    chunk: int = 1  # new tokens of each text in a piece of the local decoder; a server decides for itself


@dataclass(frozen=True)
class SamplingFlags:
    """How the next token is chosen. Default: as the model's generation_config.json says; where it says nothing, the
    most likely token for a model with a chat template, and temperature 0.8 for another."""

    temperature: float | None = None
    """Logits are divided by it before the softmax; 0: the most likely token is taken (greedy)."""
    top_k: int | None = None
    """Draw among this many most likely tokens; 0: among all."""
    top_p: float | None = None
    """Draw among the fewest most likely tokens whose probabilities sum to this; 1: among all."""
    seed: int = 0
    """Random seed, 64 bits."""
    min_p: float | None = None
    """Draw among tokens at least this likely, as a part of the likeliest one's probability."""

    def __post_init__(self) -> None:
        self.over(Sampling())

    def over(self, default: Sampling) -> Sampling:
        """The flags that are given, and `default` for the others. Raises ValueError as `Sampling`."""
        return replace(default, **{name: value for name, value in vars(self).items() if value is not None})


class Piece(NamedTuple):
    """A part of the continuations that arrives at once."""

    texts: list[str]  # the next text of each continuation; may be empty
    n_tokens: int | None  # new tokens of all texts together; None for a server, which does not report it


class TextGenerator(Protocol):
    """Something that continues texts: the local decoder or a server."""

    @property
    def name(self) -> str:
        """The model's name, for messages."""
        ...

    def sampling(self, otherwise: Sampling) -> Sampling:
        """What the model's files say about sampling, and `otherwise` for the rest. Nothing is known of a server's."""
        ...

    def stream(self, text: str, settings: Settings) -> Generator[str, None, None]:
        """The continuation of one text, piece by piece.

        Raises:
            ValueError, OSError: as `stream_all`.
        """
        ...

    def stream_all(self, texts: Sequence[str], settings: Settings) -> Generator[Piece, None, None]:
        """The continuations of several texts, piece by piece.

        Raises:
            ValueError: the request is refused, for example because a prompt is longer than the model's context.
            OSError: the server does not answer.
        """
        ...


Message = dict[str, str]  # a role and a content


@runtime_checkable
class Chatting(Protocol):
    """A source that may answer messages."""

    @property
    def chats(self) -> bool:
        """Whether its model has a chat template."""
        ...

    def reply(self, messages: Sequence[Message], settings: Settings) -> Generator[str, None, None]:
        """The answer to messages, piece by piece, up to the end of the turn.

        Raises:
            ValueError, OSError: as `TextGenerator.stream_all`.
        """
        ...


def is_url(source: str) -> bool:
    """Whether a source is a server's address; everything else is a model."""
    return source.startswith(("http://", "https://"))


def refuse_what_does_not_fit(source: str, adapter: Path | None, model: str | None) -> None:
    """Raises ValueError for an adapter folder with a server, or for a name of a served model without one."""
    if adapter is not None and is_url(source):
        raise ValueError(
            f"--adapter {adapter} is for a model on this machine; {source} is a server, which takes adapters where it "
            "is started: name one of its own with --model"
        )
    if model is not None and not is_url(source):
        raise ValueError(f"--model {model} names a model of a server, and {source} is none: leave it out")


def refuse_empty_stops(stops: Sequence[str]) -> None:
    """Refuses an empty stop text, which occurs before the first character, so that nothing would be left.

    Raises:
        ValueError: a stop text is empty.
    """
    if "" in stops:
        raise ValueError("stop must be a text that is not empty: leave --stop out to generate up to the end")
