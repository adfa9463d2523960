"""Parts of a text → ids, and which of them are learned.

The prompt and each answer are encoded by themselves, because in use the model gets the prompt's ids before an answer
exists: no token may join the two. Special tokens are read where the template writes them, never where people do.
"""

import numpy as np

from llm_jax.tokenizer.protocol import Tokenizer
from llm_jax.tokenizer.special import parts
from train.finetune.data.example import Example
from train.finetune.data.reading.records import Conversation
from train.finetune.data.templates.guard import Guard
from train.finetune.data.templates.spans import Text, spans_of
from train.finetune.data.templates.template import Template

ANCHORS = ("\n", "a", ".", "0", "}")


class Encoder:
    """Conversations → examples, by one template and one tokenizer."""

    def __init__(self, template: Template, tokenizer: Tokenizer):
        self._template, self._tokenizer = template, tokenizer
        self._special = frozenset(tokenizer.special_tokens)
        stops = {tokenizer.id_to_token(number) for number in tokenizer.borders.stops}
        self._stops = frozenset(token for token in stops if token in self._special)

    def __call__(self, conversation: Conversation) -> Example:
        """Raises ValueError where the template cannot write the conversation or show the assistant's words."""
        if self._template.chat is None:
            return self._plain(conversation)
        messages = self._template.messages(conversation)
        texts = [value for one in messages for value in one.values() if isinstance(value, str)]
        guard = Guard(self._special, [*texts, self._template.chat.default])
        hidden = [guard.message(one) for one in messages]
        text = spans_of(self._template.chat, hidden, conversation.trained, self._special, self._stops)
        return self._encode(text, guard)

    def _encode(self, text: Text, guard: Guard) -> Example:
        ids: list[int] = []
        trained: list[bool] = []
        reached = 0
        for start, stop in text.spans:
            for begin, end, is_trained in ((reached, start, False), (start, stop, True)):
                new = self._ids(text.text[begin:end], guard, is_first=not begin)
                ids += new
                trained += [is_trained] * len(new)
            reached = stop
        rest = self._ids(text.text[reached:], guard, is_first=False)
        ids, trained = ids + rest, trained + [False] * len(rest)
        if not text.ends:
            ids, trained = [*ids, self._end()], [*trained, True]
        return _example(ids, trained)

    def _plain(self, conversation: Conversation) -> Example:
        if not conversation.from_text:
            raise ValueError("messages have roles, which --template plain cannot write; choose another template")
        prompt, answer = (one["content"] for one in conversation.messages)
        nothing = Guard((), ())
        before = [*self._tokenizer.borders.prefix, *self._ids(prompt, nothing, is_first=True, is_plain=True)]
        learned = [*self._ids(answer, nothing, is_first=not prompt, is_plain=True), self._end()]
        return _example(before + learned, [False] * len(before) + [True] * len(learned))

    def _end(self) -> int:
        """The id that ends an answer which its template does not end."""
        if (end := self._tokenizer.borders.end) is None:
            raise ValueError(
                f"nothing ends an answer: neither the template nor tokenizer {self._tokenizer.name!r} has a token that "
                "does; write one behind the assistant's words in the template, or take another base"
            )
        return end

    def _ids(self, text: str, guard: Guard, is_first: bool, is_plain: bool = False) -> list[int]:
        if not text:
            return []
        tokenizer, allowed = self._tokenizer, frozenset() if is_plain else self._special
        if not guard.hides(text):
            return _continued(tokenizer, text, allowed, is_first)
        ids: list[int] = []
        last = ""  # the special token just written
        for stretch, number in parts(text, tokenizer.special_tokens, allowed, ()):
            if number is not None:
                ids.append(number)
                last = stretch
            elif last:
                ids += _after_special(tokenizer, guard.restore(stretch), last)
            else:
                ids += _continued(tokenizer, guard.restore(stretch), frozenset(), is_first)
        return ids


def _continued(tokenizer: Tokenizer, text: str, allowed: frozenset[str], is_first: bool) -> list[int]:
    """The ids of a text that goes on from another, where the tokenizer would put a space before a first one."""
    if is_first or tokenizer.parts_at_special:
        return tokenizer.encode(text, allowed_special=allowed)
    for anchor in ANCHORS:
        before = tokenizer.encode(anchor)
        ids = tokenizer.encode(anchor + text, allowed_special=allowed)
        if ids[: len(before)] == before:
            return ids[len(before) :]
    return tokenizer.encode(text, allowed_special=allowed)


def _after_special(tokenizer: Tokenizer, text: str, token: str) -> list[int]:
    """The ids of a text without special tokens behind one, where some tokenizers put a space."""
    if not tokenizer.parts_at_special:
        for anchor in (token, *tokenizer.special_tokens):
            ids = tokenizer.encode(anchor + text, allowed_special={anchor})
            if anchor not in text and ids[0] == tokenizer.special_tokens[anchor]:
                return ids[1:]
        # The text spells every special token, so none can stand before it. Is a text behind one read as a first one?
        ids = tokenizer.encode(token + text[:1], allowed_special={token})
        if ids == [tokenizer.special_tokens[token], *tokenizer.encode(text[:1])]:
            return tokenizer.encode(text)
    return _continued(tokenizer, text, frozenset(), is_first=False)


def _example(ids: list[int], trained: list[bool]) -> Example:
    return Example(np.array(ids, np.int32), np.array(trained, bool))
