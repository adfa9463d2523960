"""A chat template applied to messages, as transformers' `apply_chat_template` does, and the ids of its text.

The template writes the special tokens itself, also the one that begins a text, so its text is encoded with special
tokens read and none added.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llm_jax.tokenizer.chat.messages import with_reasoning
from llm_jax.tokenizer.chat.process import WORKER_PROCESS
from llm_jax.tokenizer.hf_files.chat_templates import ChatTemplates
from llm_jax.tokenizer.protocol import Tokenizer

FAULTS = {
    "refusal": "the chat template refuses these messages",
    "failure": "the chat template fails on these messages",
    "syntax": "the chat template cannot be read",
    "security": "the chat template was stopped, because it reaches for what a template may not",
    "limit": "the chat template was stopped",
}


@dataclass(frozen=True)
class Rendered:
    """The text, and where in it the parts stand that `{% generation %}` marks as the assistant's (start, stop)."""

    text: str
    spans: tuple[tuple[int, int], ...] = ()


def render(
    chat: ChatTemplates,
    messages: Sequence[Mapping[str, Any]],
    add_generation_prompt: bool = False,
    variables: Mapping[str, Any] | None = None,
) -> Rendered:
    """The text of the messages.

    Args:
        chat: a tokenizer's templates; its default one is applied.
        messages: objects with a role and a content, as in JSON.
        add_generation_prompt: whether the header of an answer stands at the end.
        variables: further ones that the template reads, such as `enable_thinking`.

    Raises:
        ValueError: the template is faulty, refuses the messages, takes too long, or tries what its sandbox forbids.
    """
    plain = with_reasoning([{name: value for name, value in m.items() if value is not None} for m in messages])
    given = {"messages": plain, "tools": None, "documents": None, "add_generation_prompt": add_generation_prompt}
    template = chat.default
    answer = WORKER_PROCESS.ask(
        {"template": template, "variables": {**given, **chat.tokens, **(dict(variables) if variables else {})}}
    )
    if "error" in answer:
        raise ValueError(f"{chat.source}: {FAULTS[answer['kind']]}: {' '.join(answer['error'].split())}")
    return Rendered(answer["text"], tuple((start, stop) for start, stop in answer["spans"]))


def encode(
    tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]], variables: Mapping[str, Any] | None = None
) -> list[int]:
    """The ids of a prompt that asks for the next answer.

    Raises ValueError as `render`, and where the tokenizer has no chat template or the template writes nothing.
    """
    if tokenizer.chat is None:
        raise ValueError(f"tokenizer {tokenizer.name!r} has no chat template: put a chat_template.jinja beside it")
    ids = tokenizer.encode(render(tokenizer.chat, messages, True, variables).text, allowed_special="all")
    if not ids:
        raise ValueError(f"{tokenizer.chat.source}: the chat template writes nothing for these messages")
    return ids
