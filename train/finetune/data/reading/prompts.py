"""What stands before an answer, in rows of every kind: system, history, and a prompt or an instruction with its input.

TRL writes the prompt apart from an answer's messages; other data repeat it as their beginning. Both are read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from train.finetune.data.config import Kind
from train.finetune.data.reading.fields import is_empty
from train.finetune.data.reading.kinds import prompt_column
from train.finetune.data.reading.turns import Turn, text_of, turns


@dataclass(frozen=True)
class Prompt:
    """Messages before an answer.

    `is_text`: it is one text, which can also be joined with the answer as it stands. `instruction`: the instruction and
    its input, of which the last message is made; a template says how.
    """

    messages: tuple[Turn, ...]
    is_given: bool = True  # and not only by the answers' own messages
    is_text: bool = False
    instruction: tuple[str, str] | None = None


def prompt_of(row: Mapping[str, Any], kind: Kind) -> Prompt:
    """Of `system`, `history`, and a prompt or `instruction` with `input`. Raises ValueError that names the field."""
    name = prompt_column(row, kind)
    system, before, more = text_of(row, "system", ""), _history(row), text_of(row, "input", "")
    if name != "instruction" and isinstance(row.get(name), list):
        if more.strip():
            raise ValueError(f"'input' has no place beside a {name!r} of messages; write it into one of them")
        messages = turns(row[name], name)
        own = messages[0]["role"] == "system"
        return Prompt(with_system(system, (*messages[:own], *before, *messages[own:]), name))
    words = text_of(row, name, "" if kind == "preferences" else None)
    if not words.strip() and not more.strip():
        if name == "instruction":
            raise ValueError("'instruction' is empty: write one, or leave the row out (--skip-bad-rows N)")
        if row.get(name) is None:
            return Prompt(with_system(system, before, "history"), is_given=False)
    text = "\n\n".join(part for part in (words, more) if part)
    messages = with_system(system, (*before, {"role": "user", "content": text}), name)
    is_text = name == "prompt" and len(messages) == 1 and not more.strip()
    return Prompt(messages, is_text=is_text, instruction=None if is_text else (words, more))


def with_system(system: str, messages: tuple[Turn, ...], name: str) -> tuple[Turn, ...]:
    """The messages with the column `system` before them. Raises ValueError where they have another one."""
    if not system.strip():
        return messages
    first: Turn = {"role": "system", "content": system}
    if not messages or messages[0]["role"] != "system":
        return (first, *messages)
    if not messages[0]["content"].strip():
        return (first, *messages[1:])
    if not _are_same(first, messages[0]):
        raise ValueError(f"the system message of {name} is another than the row's; keep one of them")
    return messages


def joined(prompt: Prompt, answer: tuple[Turn, ...], name: str) -> tuple[tuple[Turn, ...], int]:
    """The prompt, then the messages of `answer` that do not repeat it; and how many of all are the prompt.

    Raises ValueError where the answer begins with another prompt.
    """
    system, before = _parted(prompt.messages)
    if system:
        answer = with_system(system[0]["content"], answer, name)
    system, own = _parted(answer)
    asks = bool(own) and own[0]["role"] != "assistant"
    if asks and before and not before[-1]["content"].strip():
        before = before[:-1]  # a blank prompt beside whole conversations
    repeated = 0
    if asks and before:
        if len(own) > len(before) and all(map(_are_same, before, own)):
            repeated = len(before)
        elif _are_same(before[-1], own[0]):
            repeated = 1
        elif before[-1]["role"] != "assistant":
            raise ValueError(f"{name} begins with another prompt than the row's; keep one of them")
    return (*system, *before, *own[repeated:]), len(system) + len(before)


def _history(row: Mapping[str, Any]) -> tuple[Turn, ...]:
    """Earlier turns in LLaMA-Factory's form: pairs of an instruction and its answer."""
    pairs = row.get("history")
    if is_empty(pairs):
        return ()
    if not isinstance(pairs, list):
        raise ValueError(f"'history' must be a list of pairs of texts; got {pairs!r:.40}")
    before: list[Turn] = []
    for place, pair in enumerate(pairs):
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise ValueError(f"history[{place}] must be a pair of texts, an instruction and its answer; got {pair!r}")
        before += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    return tuple(before)


def _parted(messages: tuple[Turn, ...]) -> tuple[tuple[Turn, ...], tuple[Turn, ...]]:
    """The system message, if there is one, and the others."""
    first = int(bool(messages) and messages[0]["role"] == "system")
    return messages[:first], messages[first:]


def _are_same(one: Turn, other: Turn) -> bool:
    """Whether two messages say the same, however their words are spaced."""
    return one["role"] == other["role"] and one["content"].split() == other["content"].split()
