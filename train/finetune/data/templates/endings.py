"""Where an answer ends in the text of a conversation whose last message it is.

Most templates end the text there. Some write more: Llama 3's first one writes the header of a next answer, whether it
is asked for or not, and Phi-3's writes a token that ends the whole text where no header is asked for. Neither stands
there once more messages follow, and neither is the assistant's.
"""

from collections.abc import Sequence

from llm_jax.tokenizer.chat import render
from llm_jax.tokenizer.hf_files.chat_templates import ChatTemplates
from llm_jax.tokenizer.special import finder
from train.finetune.data.reading.turns import Turn


def end_of_answer(
    chat: ChatTemplates, messages: Sequence[Turn], before: str, text: str, special: frozenset[str]
) -> int:
    """Where the last message ends in the text, with the token that ends its turn.

    Args:
        chat: the template.
        messages: the last is the answer.
        before: the text of the messages before it and the header of the answer; the text begins with it.
        text: the text of all messages.
        special: the special tokens of the tokenizer.
    """
    closing = _end_of_content(chat, messages, before, text)
    behind = list(finder(special).finditer(text, closing)) if special else []
    if render(chat, messages[:-1]).text == before:
        # What ends both texts may be a header of a next answer, behind a token that ends each turn.
        fixed = max(closing, len(text) - _shared(before[::-1], text[::-1]))
        own = [token for token in behind if token.start() < fixed] or behind[:1]
        return own[-1].end() if own else fixed
    shared = _shared(text, render(chat, messages, add_generation_prompt=True).text)
    added = next((token for token in behind if closing <= shared < token.end()), None)
    return added.start() if added else len(text)


def _end_of_content(chat: ChatTemplates, messages: Sequence[Turn], before: str, text: str) -> int:
    """Where the words of the last message end: what follows them stands behind other words as well."""
    answer = messages[-1]
    words = "1" if answer["content"].rstrip().endswith("0") else "0"
    other = render(chat, [*messages[:-1], {**answer, "content": words}]).text
    return max(len(before), len(text) - _shared(other[::-1], text[::-1]))


def _shared(one: str, other: str) -> int:
    """How many characters two texts share at their beginnings."""
    shorter = min(len(one), len(other))
    return next((place for place in range(shorter) if one[place] != other[place]), shorter)
