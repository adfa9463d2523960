"""The text of a conversation, and which parts of it the assistant writes.

Where the template marks these parts itself (`{% generation %}`), the marks are taken. Else the template writes the
conversation up to an answer, with the header of the answer, and then with the answer: what the second text has beyond
the first is the answer. That holds only where a longer conversation begins with the text of the shorter,
which is checked. Nothing is ever searched for in the text.

The token that ends the assistant's turn belongs to the answer, also where the template's marks leave it out: a model
that never learned it would not stop.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from llm_jax.tokenizer.chat import render
from llm_jax.tokenizer.hf_files.chat_templates import ChatTemplates
from llm_jax.tokenizer.special import finder
from train.finetune.data.reading.turns import Turn
from train.finetune.data.templates.endings import end_of_answer

MARK = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")
CURE = (
    "put {% generation %} and {% endgeneration %} around the assistant's words in the template, or choose another with "
    "--template chatml, alpaca or llama3"
)


class Text(NamedTuple):
    """A written conversation and the parts (start, stop) that are learned; `ends`: whether the last has its end."""

    text: str
    spans: tuple[tuple[int, int], ...]
    ends: bool


def spans_of(
    chat: ChatTemplates,
    messages: Sequence[Turn],
    trained: frozenset[int],
    special: frozenset[str],
    stops: frozenset[str],
) -> Text:
    """Writes the messages, of which the last is the assistant's and those at `trained` are learned.

    Args:
        chat: the template.
        messages: with whatever spells a special token hidden (`guard`).
        trained: places of messages.
        special: the special tokens of the tokenizer.
        stops: those that end a continuation.

    Raises:
        ValueError: the template cannot tell the assistant's words from the rest, or refuses the messages.
    """
    if MARK.search(chat.default):
        text, spans = _marked(chat, messages, trained)
    else:
        text, spans = _by_difference(chat, messages, trained, special)
    found, ends = [], False
    for start, stop in reversed(spans):
        is_last = not found
        closing = special if is_last else stops
        end = _end_of_turn(text, start, stop, special, closing)
        if is_last:
            ends = end is not None
            stops |= _closing_of(text, start, end, special)
        found.append((start, stop if end is None else end))
    if not ends:
        found[0] = (found[0][0], len(text))
    return Text(text, tuple(reversed(found)), ends)


def _marked(
    chat: ChatTemplates, messages: Sequence[Turn], trained: frozenset[int]
) -> tuple[str, list[tuple[int, int]]]:
    """The text and the spans by the template's own marks."""
    found = render(chat, messages)
    text, marked = found.text, [(start, stop) for start, stop in found.spans if stop > start]
    answers = [place for place, one in enumerate(messages) if one["role"] == "assistant"]
    if not marked:
        raise ValueError(
            f"{chat.source}: its {{% generation %}} marks nothing of this conversation as the assistant's; {CURE}"
        )
    if len(marked) < len(answers) or (len(marked) > len(answers) and set(answers) != trained):
        raise ValueError(
            f"{chat.source}: its {{% generation %}} marks {len(marked)} parts for {len(answers)} messages of the "
            "assistant, so which is which cannot be told; mark each message once, or give each answer a row"
        )
    if set(answers) == trained:
        return text, marked
    return text, [span for place, span in zip(answers, marked, strict=True) if place in trained]


def _by_difference(
    chat: ChatTemplates, messages: Sequence[Turn], trained: frozenset[int], special: frozenset[str]
) -> tuple[str, list[tuple[int, int]]]:
    """The text and the spans by what each answer adds to the conversation before it."""
    text, spans = render(chat, messages).text, []
    for place in sorted(trained):
        if not place:
            raise ValueError(
                f"{chat.source}: the conversation begins with an answer, before which the template writes "
                "nothing to learn from; begin with a message of the user"
            )
        before = render(chat, messages[:place], add_generation_prompt=True).text
        whole = text if place == len(messages) - 1 else render(chat, messages[: place + 1]).text
        if not (whole.startswith(before) and len(whole) > len(before)):
            raise ValueError(
                f"{chat.source}: the chat template writes a conversation with an answer otherwise than the "
                f"prompt that asks for it, so the answer cannot be marked; {CURE}"
            )
        _check_header(chat, messages[:place], before, whole[len(before) :], messages[place]["content"])
        stop = len(whole)
        if not (text.startswith(whole) and _ends_once(whole, len(before), special)):
            stop = end_of_answer(chat, messages[: place + 1], before, whole, special)
        if not text.startswith(whole[:stop]):
            raise ValueError(
                f"{chat.source}: the chat template writes an answer otherwise once more messages follow, so "
                f"the answers of a longer conversation cannot be marked; {CURE}; or give each answer a row"
            )
        spans.append((len(before), stop))
    end = spans[-1][1]
    if text[end:].strip() and render(chat, messages, add_generation_prompt=True).text == text:
        text = text[:end]  # without the header of a next answer
    return text, spans


def _ends_once(text: str, start: int, special: frozenset[str]) -> bool:
    """Whether one special token stands behind `start`, and nothing but white space behind it."""
    found = list(finder(special).finditer(text, start)) if special else []
    return len(found) == 1 and not text[found[0].end() :].strip()


def _check_header(chat: ChatTemplates, before: Sequence[Turn], prompt: str, added: str, content: str) -> None:
    """Raises ValueError where the template does not write the header of an answer by itself."""
    if added.lstrip().startswith(content.strip()) or render(chat, before).text != prompt:
        return
    raise ValueError(
        f"{chat.source}: the chat template writes no header of an answer by itself (add_generation_prompt), so "
        f"the assistant's words cannot be told from it; {CURE}"
    )


def _end_of_turn(text: str, start: int, stop: int, special: frozenset[str], closing: frozenset[str]) -> int | None:
    """Where the answer at (start, stop) ends with the token that ends its turn; None where there is none.

    That is the last special token in it, if nothing but white space follows; or one of `closing` right behind it.
    """
    if not special:
        return None
    inside = list(finder(special).finditer(text, start, stop))
    if inside and not text[inside[-1].end() : stop].strip():
        return inside[-1].end()
    behind = finder(special).match(text, stop + len(text[stop:]) - len(text[stop:].lstrip()))
    return behind.end() if behind and behind[0] in closing else None


def _closing_of(text: str, start: int, end: int | None, special: frozenset[str]) -> frozenset[str]:
    """The token that ends the answer (start, end)."""
    found = list(finder(special).finditer(text, start, end)) if end is not None else []
    return frozenset({found[-1][0]}) if found else frozenset()
