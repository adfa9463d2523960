"""Parts of a text → ids, and which of them are learned.

The prompt and each answer are encoded by themselves, because in use the model gets the prompt's ids before an answer
exists: no token may join the two. Special tokens are read where the template writes them, never where people do.
"""

import numpy as np

from llm_jax.tokenizer.protocol import Tokenizer
from llm_jax.tokenizer.special import finder, parts
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
        self.ends: set[int] = set()  # the ids that ended the last answers so far

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
        pieces: list[tuple[int, int, bool]] = []
        reached = 0
        for start, stop in text.spans:
            pieces += [(reached, start, False), (start, stop, True)]
            reached = stop
        ids: list[int] = []
        trained: list[bool] = []
        before = None
        for start, stop, is_trained in (*pieces, (reached, len(text.text), False)):
            new, before = self._ids(text.text[start:stop], guard, before)
            ids += new
            trained += [is_trained] * len(new)
        if not text.ends:
            ids, trained = [*ids, self._end()], [*trained, True]
        return self._ended(ids, trained)

    def _plain(self, conversation: Conversation) -> Example:
        if not conversation.from_text:
            raise ValueError("messages have roles, which --template plain cannot write; choose another template")
        prompt, answer = (one["content"] for one in conversation.messages)
        before = [*self._tokenizer.borders.prefix, *self._tokenizer.encode(prompt)]
        learned = [*_behind(self._tokenizer, answer, "" if prompt else None, frozenset()), self._end()]
        return self._ended(before + learned, [False] * len(before) + [True] * len(learned))

    def _ended(self, ids: list[int], trained: list[bool]) -> Example:
        """The example, whose last trained id ends an answer."""
        example = Example(np.array(ids, np.int32), np.array(trained, bool))
        self.ends.add(int(example.ids[example.trained][-1]))
        return example

    def _end(self) -> int:
        """The id that ends an answer which its template does not end."""
        if (end := self._tokenizer.borders.end) is None:
            raise ValueError(
                f"nothing ends an answer: neither the template nor tokenizer {self._tokenizer.name!r} has a token that "
                "does; write one behind the assistant's words in the template, or take another base"
            )
        return end

    def _ids(self, text: str, guard: Guard, before: str | None) -> tuple[list[int], str | None]:
        """The ids of a text that stands behind `before` (`_behind`), and what the next text stands behind."""
        tokenizer = self._tokenizer
        if not guard.hides(text):
            ids = _behind(tokenizer, text, before, self._special)
            return ids, self._before_next(text, ids, before)
        ids: list[int] = []
        for stretch, number in parts(text, tokenizer.special_tokens, self._special, ()):
            if number is not None:
                ids.append(number)
                before = stretch
            elif new := _behind(tokenizer, guard.restore(stretch), before, frozenset()):
                ids += new
                before = ""
        return ids, before

    def _before_next(self, text: str, ids: list[int], before: str | None) -> str | None:
        if not ids:
            return before
        found = finder(self._special).findall(text) if self._special else []
        # By the last id too: some special tokens take in the white space behind them.
        return found[-1] if found and ids[-1] == self._tokenizer.special_tokens[found[-1]] else ""


def _behind(tokenizer: Tokenizer, text: str, before: str | None, allowed: frozenset[str]) -> list[int]:
    """The ids that the text has behind `before`: a special token, ordinary text (""), or nothing (None).

    Some tokenizers put a space before the first word of a text, some also behind each special token.
    """
    if not text:
        return []
    if before is None or tokenizer.parts_at_special:
        return tokenizer.encode(text, allowed_special=allowed)
    if before:
        return _after_special(tokenizer, text, before, allowed)
    return _continued(tokenizer, text, allowed)


def _continued(tokenizer: Tokenizer, text: str, allowed: frozenset[str]) -> list[int]:
    """The ids of a text behind ordinary text."""
    for anchor in ANCHORS:
        before = tokenizer.encode(anchor)
        ids = tokenizer.encode(anchor + text, allowed_special=allowed)
        if ids[: len(before)] == before:
            return ids[len(before) :]
    return tokenizer.encode(text, allowed_special=allowed)


def _after_special(tokenizer: Tokenizer, text: str, token: str, allowed: frozenset[str]) -> list[int]:
    """The ids of a text behind a special token. Of the special tokens that it spells, it holds those in `allowed`."""
    harmless = (one for one in (token, *tokenizer.special_tokens) if one not in text)
    for anchor in (token,) if token in allowed else harmless:
        ids = tokenizer.encode(anchor + text, allowed_special=allowed | {anchor})
        if ids[0] == tokenizer.special_tokens[anchor]:
            return ids[1:]
    # The text spells every special token, so none can stand before it. Is a text behind one read as a first one?
    ids = tokenizer.encode(token + text[:1], allowed_special={token})
    if ids == [tokenizer.special_tokens[token], *tokenizer.encode(text[:1])]:
        return tokenizer.encode(text, allowed_special=allowed)
    return _continued(tokenizer, text, allowed)
