"""Messages of a row, checked: OpenAI's form (role, content) or ShareGPT's (from, value).

`llm_jax.tokenizer.chat` checks what any chat model reads. Here roles are those that a template is asked to write, and
every answer has words in it.
"""

from collections.abc import Mapping
from typing import Any

from llm_jax.tokenizer.chat import checked
from llm_jax.tokenizer.chat.messages import CALLS
from train.finetune.data.reading.fields import TEXTS_OR_MESSAGES, is_empty, parsed, refuse_python

ROLES = ("system", "developer", "user", "assistant")
SHAREGPT = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "user": "user",
    "assistant": "assistant",
    "system": "system",
}
OF_TOOLS = (
    "tool",
    "function",
    "ipython",
    "function_call",
    "observation",
    "tool_call",
    "tool_response",
    "function-call",
)
WEIGHT = "weight"  # of OpenAI's fine-tuning: 0 leaves an assistant's message out of the training
INFINITIES = (float("inf"), float("-inf"))
LEFT_OUT = (WEIGHT, "from", "value")

Turn = dict[str, Any]


def turns(value: Any, name: str) -> tuple[Turn, ...]:
    """The messages in the field `name`. Raises ValueError that names the message at fault, and the cure."""
    if isinstance(value, str):
        refuse_python(value, name)
    if not isinstance(value, list) or not value:
        raise ValueError(f"{name} must be a list of at least one message; got {_shown(value)}")
    messages = [_openai(message, f"{name}[{place}]") for place, message in enumerate(value)]
    try:
        found = checked(messages)
    except ValueError as error:
        raise ValueError(str(error).replace("messages[", f"{name}[")) from None
    for place, (message, given) in enumerate(zip(found, messages, strict=True)):
        if message["role"] == "assistant":
            check_answer(message["content"], f"{name}[{place}].content")
        if WEIGHT in given and given[WEIGHT] not in (0, 1):
            raise ValueError(f"{name}[{place}].weight must be 0 or 1; got {given[WEIGHT]!r}")
    return tuple(found)


def check_answer(text: str, name: str) -> str:
    """Raises ValueError for an answer without words: a model would learn from it to say nothing."""
    if not text.strip():
        raise ValueError(f"{name} is an empty answer: write one, or leave the row out (--skip-bad-rows N)")
    return text


def text_of(row: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """The field as a text; `default` where it is missing or null. Raises ValueError for anything else."""
    value = row.get(name)
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, (str, int, float)) or value in INFINITIES:
        raise ValueError(f"{name!r} is {_shown(value)}; expected a text")
    text = str(value)
    if name in TEXTS_OR_MESSAGES:
        refuse_python(text, name)
    return text


def _openai(message: Any, where: str) -> Any:
    """A message of ShareGPT's form as one of OpenAI's; others as they are."""
    if not isinstance(message, dict):
        return message
    empty = [key for key in CALLS if is_empty(parsed(message.get(key)))]
    plain = {key: value for key, value in message.items() if value is not None and key not in empty}
    is_sharegpt = "from" in plain and "role" not in plain
    role = plain.get("from") if is_sharegpt else plain.get("role")
    if role in OF_TOOLS:
        raise ValueError(f"{where}: role {role!r}: calls of tools are not trained here; leave the row out")
    known = SHAREGPT if is_sharegpt else dict.fromkeys(ROLES)
    if isinstance(role, str) and role not in known:
        expected = ", ".join(known)
        raise ValueError(f"{where}: unknown role {role!r}; expected {expected}. Rename it, or leave the row out")
    if is_sharegpt:
        return (
            {key: value for key, value in plain.items() if key not in LEFT_OUT}
            | {
                "role": SHAREGPT[role] if isinstance(role, str) else role,
                "content": plain.get("value"),
            }
            | ({WEIGHT: plain[WEIGHT]} if WEIGHT in plain else {})
        )
    return plain


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}… ({type(value).__name__})"
