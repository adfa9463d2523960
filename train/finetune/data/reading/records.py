"""A row → what is to be learned from it, still as text: a conversation, two answers to one, or a labelled text.

A conversation ends with the assistant's last message: what a user says after it has no answer to be learned, and is
left out (and counted).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from train.finetune.data.config import Kind
from train.finetune.data.reading.fields import TOOLS, is_empty
from train.finetune.data.reading.kinds import chat_column, verdict
from train.finetune.data.reading.prompts import Prompt, joined, prompt_of, with_system
from train.finetune.data.reading.turns import WEIGHT, Turn, check_answer, text_of, turns

Form = Literal["instructions", "texts", "chats"]


@dataclass(frozen=True)
class Conversation:
    """Messages, the last one the assistant's.

    `from_text`: prompt and answer were texts, which can also be joined as they stand. `instruction`: the instruction
    and its input, where the last prompt is made of the two; a template says how.
    """

    messages: tuple[Turn, ...]
    trained: frozenset[int]  # places of the assistant's messages that are learned
    from_text: bool = False
    instruction: tuple[str, str] | None = None
    unanswered: int = 0  # messages left out behind the last answer

    @property
    def form(self) -> Form:
        if self.instruction is not None:
            return "instructions"
        return "texts" if self.from_text else "chats"


@dataclass(frozen=True)
class Answers:
    chosen: Conversation
    rejected: Conversation


@dataclass(frozen=True)
class LabelledText:
    text: str
    label: str | int


Record = Conversation | Answers | LabelledText


def record_of(row: Mapping[str, Any], kind: Kind) -> Record:
    """Raises ValueError that names the field at fault, and the cure."""
    if kind == "labelled":
        return _labelled(row)
    for name in TOOLS:
        if not is_empty(row.get(name)):
            raise ValueError(f"{name!r}: calls of tools are not trained here; leave the row out")
    if kind == "preferences":
        return _answers(row)
    if verdict(row) is False:
        raise ValueError(
            f"'label' is {row['label']!r}, as in unpaired preference data (KTO), whose bad answers would be learned: "
            "keep the rows with label true, or pair them as chosen and rejected; remove the column if it means "
            "something else"
        )
    if kind == "chats":
        return _chat(row)
    return _answered(prompt_of(row, kind), row, "output" if kind == "instructions" else "completion")


def _chat(row: Mapping[str, Any]) -> Conversation:
    name = chat_column(row)
    return conversation(with_system(text_of(row, "system", ""), turns(row[name], name), name), 0, name)


def conversation(messages: tuple[Turn, ...], first: int, name: str) -> Conversation:
    """The answers from message `first` on are learned, but those of weight 0. Raises ValueError where there is none."""
    answers = [place for place, one in enumerate(messages) if one["role"] == "assistant" and place >= first]
    if not answers:
        raise ValueError(f"{name} holds no message of the assistant, so nothing is to be learned; leave the row out")
    trained = frozenset(place for place in answers if messages[place].get(WEIGHT, 1))
    if not trained:
        raise ValueError(f"{name}: every answer has weight 0, so nothing is to be learned; leave the row out")
    last = max(trained)
    kept = tuple({key: value for key, value in one.items() if key != WEIGHT} for one in messages[: last + 1])
    return Conversation(kept, trained, unanswered=len(messages) - 1 - last)


@dataclass(frozen=True)
class _Whole:
    """Prompt and answer, of which the first `known` messages are the prompt."""

    name: str  # of the answer's field
    messages: tuple[Turn, ...]
    known: int
    from_text: bool
    instruction: tuple[str, str] | None

    def learned_from(self, first: int) -> Conversation:
        made = conversation(self.messages, first, self.name)
        return replace(made, from_text=self.from_text, instruction=self.instruction)


def _whole(prompt: Prompt, row: Mapping[str, Any], name: str) -> _Whole:
    """The prompt and the answer in the field `name`, a text or messages."""
    is_text = not isinstance(row.get(name), list)
    if is_text:
        answer: tuple[Turn, ...] = ({"role": "assistant", "content": check_answer(text_of(row, name), repr(name))},)
    else:
        answer = turns(row[name], name)
    if not prompt.is_given and answer[0]["role"] == "assistant":
        raise ValueError(f"there is no 'prompt' and no 'instruction' before the answer in {name!r}; give one")
    messages, known = joined(prompt, answer, name)
    # A template writes the instruction into the user's last message, which has to be the prompt's.
    is_last = all(one["role"] != "user" for one in answer)
    return _Whole(name, messages, known, prompt.is_text and is_text, prompt.instruction if is_last else None)


def _answered(prompt: Prompt, row: Mapping[str, Any], name: str) -> Conversation:
    whole = _whole(prompt, row, name)
    return whole.learned_from(whole.known)


def _answers(row: Mapping[str, Any]) -> Answers:
    """Two answers to what both conversations begin with."""
    prompt = prompt_of(row, "preferences")
    two = _whole(prompt, row, "chosen"), _whole(prompt, row, "rejected")
    (chosen, rejected), known = (one.messages for one in two), max(one.known for one in two)
    same = 0
    while same < min(len(chosen), len(rejected)) and _said(chosen[same]) == _said(rejected[same]):
        same += 1
    if same in (len(chosen), len(rejected)):  # one holds the other, or both are equal: the last answer is the answer
        same = min(len(chosen), len(rejected)) - 1
    while same > known and chosen[same - 1]["role"] == "assistant" and chosen[same]["role"] == "assistant":
        same -= 1  # several messages of one answer belong together
    if same < max(known, 1):
        raise ValueError("chosen and rejected begin with different prompts; expected two answers to one prompt")
    return Answers(two[0].learned_from(same), two[1].learned_from(same))


def _said(message: Turn) -> tuple[str, str]:
    """Who says what: further keys, such as a score, do not make it another message."""
    return message["role"], message["content"]


def _labelled(row: Mapping[str, Any]) -> LabelledText:
    text, label = text_of(row, "text"), row.get("label")
    if not text.strip():
        raise ValueError("'text' is empty: write one, or leave the row out (--skip-bad-rows N)")
    if isinstance(label, bool):
        return LabelledText(text, str(label).lower())
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if not isinstance(label, (str, int)) or not str(label).strip():
        raise ValueError(
            f"'label' is {label!r}; expected the name or the number of a class. A text without one "
            "(-1 in data of Hugging Face) is left out by --skip-bad-rows N"
        )
    return LabelledText(text, label.strip() if isinstance(label, str) else label)
