"""The turns of a user and a model so far: one text that grows, or messages of a user and an assistant."""

from collections.abc import Generator
from typing import TYPE_CHECKING, Protocol

from serve.text.config import Chatting, Settings, TextGenerator

if TYPE_CHECKING:
    from serve.text.config import Message


class Conversation(Protocol):
    """The turns of a user and a model."""

    def ask(self, line: str, settings: Settings) -> Generator[str, None, None]:
        """The answer to the next line, piece by piece."""
        ...

    def keep(self, line: str, answer: str) -> None:
        """Adds a turn."""
        ...

    def undo(self) -> None:
        """Removes the last turn, if there is one."""
        ...

    def clear(self) -> None:
        """Removes all turns."""
        ...

    @property
    def shown(self) -> str:
        """The text that is printed after `/new` and `/undo`."""
        ...


class Continued:
    """A `Conversation` with a base model, which has no roles: it continues the whole text."""

    def __init__(self, source: TextGenerator):
        self._source, self._texts = source, [""]

    @property
    def shown(self) -> str:
        return self._texts[-1]

    def ask(self, line: str, settings: Settings) -> Generator[str, None, None]:
        return self._source.stream(self._texts[-1] + line, settings)

    def keep(self, line: str, answer: str) -> None:
        self._texts.append(self._texts[-1] + line + answer)

    def undo(self) -> None:
        self._texts = self._texts[:-1] or [""]

    def clear(self) -> None:
        self._texts = [""]


class Messages:
    """A `Conversation` with a model that has a chat template. `system` is a message before all others."""

    shown = ""

    def __init__(self, source: Chatting, system: str | None):
        self._source = source
        self._first: list[Message] = [] if system is None else [{"role": "system", "content": system}]
        self._turns: list[tuple[Message, Message]] = []

    def ask(self, line: str, settings: Settings) -> Generator[str, None, None]:
        before = [message for turn in self._turns for message in turn]
        return self._source.reply([*self._first, *before, {"role": "user", "content": line}], settings)

    def keep(self, line: str, answer: str) -> None:
        self._turns.append(({"role": "user", "content": line}, {"role": "assistant", "content": answer}))

    def undo(self) -> None:
        self._turns = self._turns[:-1]

    def clear(self) -> None:
        self._turns = []


def conversation(source: TextGenerator, system: str | None) -> Conversation:
    """A conversation of messages if the model has a chat template, else one of continued text.

    Raises:
        ValueError: `system` is given, but the model has no chat template.
    """
    if isinstance(source, Chatting) and source.chats:
        return Messages(source, system)
    if system is not None:
        raise ValueError(f"--system needs a chat template, which {source.name} does not have: leave the option out")
    return Continued(source)
