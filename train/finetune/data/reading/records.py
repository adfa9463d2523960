"""A row → what is to be learned from it, still as text: a conversation, two answers to one, or a labelled text.

A conversation ends with the assistant's last message: what a user says after it has no answer to be learned, and is
left out (and counted).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from train.finetune.data.config import Kind
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
    row = dict(row)
    if kind == "preferences":
        return _answers(row)
    if kind == "labelled":
        return _labelled(row)
    if kind == "chats":
        return _chat(row)
    if kind == "instructions":
        return _of_prompt(_instruction(row), row, "output")
    return _of_prompt(_prompt_of(row), row, "completion")


def _chat(row: dict[str, Any]) -> Conversation:
    name = "messages" if row.get("messages") is not None or "conversations" not in row else "conversations"
    for tools in ("tools", "functions"):
        if row.get(tools):
            raise ValueError(f"{tools!r}: calls of tools are not trained here; leave the row out")
    messages = turns(row[name], name)
    if (system := text_of(row, "system", "")).strip() and messages[0]["role"] != "system":
        messages = ({"role": "system", "content": system}, *messages)
    return conversation(messages, 0, name)


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
class _Prompt:
    messages: tuple[Turn, ...]
    is_text: bool = False
    instruction: tuple[str, str] | None = field(default=None)


def _of_prompt(prompt: _Prompt, row: dict[str, Any], name: str) -> Conversation:
    """The prompt and the answer in the field `name`, a text or messages."""
    is_text = not isinstance(row.get(name), list)
    if is_text:
        answer: tuple[Turn, ...] = ({"role": "assistant", "content": check_answer(text_of(row, name), repr(name))},)
    else:
        answer = turns(row[name], name)
    made = conversation((*prompt.messages, *answer), len(prompt.messages), name)
    return replace(made, from_text=prompt.is_text and is_text, instruction=prompt.instruction)


def _instruction(row: dict[str, Any]) -> _Prompt:
    """`instruction`, `input` and, in LLaMA-Factory's form, `system` and `history`."""
    words, more = text_of(row, "instruction"), text_of(row, "input", "")
    if not words.strip() and not more.strip():
        raise ValueError("'instruction' is empty: write one, or leave the row out (--skip-bad-rows N)")
    before: list[Turn] = []
    if (system := text_of(row, "system", "")).strip():
        before.append({"role": "system", "content": system})
    for place, pair in enumerate(row.get("history") or []):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise ValueError(f"history[{place}] must be a pair of texts, an instruction and its answer; got {pair!r}")
        before += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    return _Prompt((*before, {"role": "user", "content": words}), instruction=(words, more))


def _prompt_of(row: dict[str, Any]) -> _Prompt:
    if isinstance(row.get("prompt"), list):
        return _Prompt(turns(row["prompt"], "prompt"))
    return _Prompt(({"role": "user", "content": text_of(row, "prompt")},), is_text=True)


def _answers(row: dict[str, Any]) -> Answers:
    if row.get("prompt") is None and row.get("instruction") is not None:
        prompt = _instruction(row)
    elif isinstance(row.get("chosen"), list) and isinstance(row.get("rejected"), list):
        return _of_two_conversations(row)
    elif row.get("prompt") is None:
        raise ValueError("there is no 'prompt' and no 'instruction'; two texts, chosen and rejected, need one")
    else:
        prompt = _prompt_of(row)
    return Answers(_of_prompt(prompt, row, "chosen"), _of_prompt(prompt, row, "rejected"))


def _of_two_conversations(row: dict[str, Any]) -> Answers:
    """Lists of messages, of which each may begin with the prompt: then what both begin with is the prompt."""
    chosen, rejected = turns(row["chosen"], "chosen"), turns(row["rejected"], "rejected")
    if chosen[0]["role"] == "assistant" or rejected[0]["role"] == "assistant":
        if row.get("prompt") is None:
            raise ValueError("there is no 'prompt', and chosen and rejected begin with an answer; give the prompt")
        prompt = _prompt_of(row)
        return Answers(_of_prompt(prompt, row, "chosen"), _of_prompt(prompt, row, "rejected"))
    same = 0
    while same < min(len(chosen), len(rejected)) and chosen[same] == rejected[same]:
        same += 1
    if same in (len(chosen), len(rejected)):  # one holds the other, or both are equal: the last answer is the answer
        same = min(len(chosen), len(rejected)) - 1
    while same and chosen[same - 1]["role"] == "assistant" and chosen[same]["role"] == "assistant":
        same -= 1  # several messages of one answer belong together
    if not same:
        raise ValueError("chosen and rejected begin with different prompts; expected two answers to one prompt")
    return Answers(*(conversation(one, same, name) for name, one in (("chosen", chosen), ("rejected", rejected))))


def _labelled(row: dict[str, Any]) -> LabelledText:
    text, label = text_of(row, "text"), row.get("label")
    if not text.strip():
        raise ValueError("'text' is empty: write one, or leave the row out (--skip-bad-rows N)")
    if isinstance(label, bool):
        return LabelledText(text, str(label).lower())
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if not isinstance(label, (str, int)) or not str(label).strip():
        raise ValueError(f"'label' is {label!r}; expected the name or the number of a class")
    return LabelledText(text, label.strip() if isinstance(label, str) else label)
