"""How questions are put to a model: as text that goes on, or as messages in its chat template."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from llm_jax.tokenizer.chat import render
from llm_jax.tokenizer.hf_files.chat_templates import ChatTemplates
from serve.evaluation.results import Candidate

HERE = "\ue000 the answer goes on here"  # a private character, which no template or task writes


class Asking(NamedTuple):
    """What the harness is told of it."""

    chat_template: bool = False
    system: str | None = None  # a first message, or what stands before every question

    def of_harness(self) -> dict[str, Any]:
        """Arguments of `evaluator.evaluate`. With a template, examples are turns of the conversation."""
        return {
            "apply_chat_template": self.chat_template,
            "fewshot_as_multiturn": self.chat_template,
            "system_instruction": self.system,
        }

    def of_task(self, model: Any) -> dict[str, Any]:
        """Arguments of a task's `build_all_requests`, as the harness makes them from those."""
        more = {"chat_template": None, "tokenizer_name": ""}
        if self.chat_template:
            more = {"chat_template": model.apply_chat_template, "tokenizer_name": model.tokenizer_name}
        return self.of_harness() | more


def check_template(candidate: Candidate, model: Any, system: str | None) -> None:
    """Says so where our decoder's template refuses the system message, which is then left out.

    Raises:
        ValueError: the model's tokenizer has no chat template.
    """
    tokenizer = getattr(model, "tokenizer", None)
    ours = getattr(tokenizer, "chat", None)
    if ours is None and getattr(tokenizer, "chat_template", None) is None:
        raise ValueError(
            f"{candidate.name} has no chat template: put a chat_template.jinja beside its tokenizer, or leave out "
            "--apply-chat-template"
        )
    if ours is None or not system:
        return
    try:
        render(ours, [{"role": "system", "content": system}, {"role": "user", "content": "Hello"}], True)
    except ValueError as error:
        print(f"{candidate.name}: --system-instruction is left out: {error}")


def written(chat: ChatTemplates, messages: Sequence[dict[str, str]], add_generation_prompt: bool) -> str:
    """The text of the messages. Without a header for the next answer, the last message is one that goes on.

    Where a template refuses a system message, it is left out, as the harness does.

    Raises:
        ValueError: as `render`.
    """
    if not add_generation_prompt:
        last = messages[-1]
        messages = [*messages[:-1], {**last, "content": last["content"] + HERE}]
    text = _tolerant(lambda those: render(chat, those, add_generation_prompt).text, messages)
    if add_generation_prompt:
        return text
    before, found, _ = text.partition(HERE)
    if not found:
        raise ValueError(f"{chat.source}: the chat template does not write the beginning of an answer as it stands")
    return before


def _tolerant(call: Callable[[Sequence[dict[str, str]]], str], messages: Sequence[dict[str, str]]) -> str:
    try:
        return call(messages)
    except ValueError:
        without = [message for message in messages if message["role"] != "system"]
        if len(without) == len(messages):
            raise
        return call(without)
