"""Messages of a chat in the form of OpenAI's interface, checked: objects with a role and a content of text.

Pictures (for a model that reads none), sound and tool calls are refused by name. Parts of text are joined with line
feeds, as vLLM does. Where a message has pictures, its content stays a list of parts, which the template of such a model
reads; the pictures' addresses are handed to the caller.
"""

from collections.abc import Callable, Sequence
from typing import Any

NO_TEMPLATE = "this model has no chat template: put a chat_template.jinja beside its tokenizer, or use /v1/completions"
TEXT_PARTS = ("text", "input_text", "output_text")
PICTURES = ("image_url", "input_image")
CALLS = ("tool_calls", "function_call", "tool_call_id")
ROLES_OF_CALLS = ("tool", "function")


def checked(messages: Any, picture: Callable[[str, str], None] | None = None) -> list[dict[str, Any]]:
    """The messages as templates read them. Raises ValueError with the place of what is wrong.

    `picture(url, place)` is called for each picture, in order; without it pictures are refused.
    """
    if not isinstance(messages, list) or not messages:
        raise ValueError("messages must be a list of at least one message, such as {'role': 'user', 'content': 'Hi'}")
    return [_message(message, f"messages[{place}]", picture) for place, message in enumerate(messages)]


def _message(message: Any, where: str, picture: Callable[[str, str], None] | None) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise ValueError(f"{where} must be an object with a role and a content; got {type(message).__name__}")
    if not isinstance(role := message.get("role"), str) or not role:
        raise ValueError(f"{where}.role must be a text such as 'user'; got {role!r}")
    if role in ROLES_OF_CALLS:
        raise ValueError(f"{where}.role is {role!r}: tool calls are not computed here")
    for name in CALLS:
        if message.get(name):
            raise ValueError(f"{where}.{name}: tool calls are not computed here: leave it out")
    given = {name: value for name, value in message.items() if value is not None and name not in CALLS}
    return given | {"content": _content(message.get("content"), f"{where}.content", picture)}


def _content(content: Any, where: str, picture: Callable[[str, str], None] | None) -> str | list[dict[str, str]]:
    """A text; or parts of text and pictures, where there are any."""
    is_picture = [isinstance(part, dict) and part.get("type") in PICTURES for part in _parts(content)]
    if picture is None or not any(is_picture):
        return _text(content, where, sees=picture is not None)
    parts = []
    for place, (part, is_one) in enumerate(zip(content, is_picture, strict=True)):
        if is_one:
            picture(_url(part, f"{where}[{place}]"), f"{where}[{place}]")
        parts.append({"type": "image"} if is_one else {"type": "text", "text": _part(part, f"{where}[{place}]", True)})
    return parts


def _parts(content: Any) -> list[Any]:
    return content if isinstance(content, list) else []


def _url(part: dict[str, Any], where: str) -> str:
    """OpenAI's two forms: an object with a `url`, or the address itself."""
    found = part.get("image_url")
    url = found.get("url") if isinstance(found, dict) else found
    if not isinstance(url, str):
        raise ValueError(f"{where}.image_url must be an object with a url of text; got {type(url).__name__}")
    return url


def _text(content: Any, where: str, sees: bool) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise ValueError(f"{where} must be a text, or a list of parts of text; got {type(content).__name__}")
    return "\n".join(_part(part, f"{where}[{place}]", sees) for place, part in enumerate(content))


def _part(part: Any, where: str, sees: bool) -> str:
    """The text of a part. `sees`: whether the model reads pictures, too."""
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in TEXT_PARTS:
        what = f"a part of type {kind!r}" if isinstance(kind, str) else "no part of a message"
        read = "types 'text' and 'image_url'" if sees else "type 'text' alone"
        raise ValueError(f"{where} is {what}: this model reads parts of {read}")
    if not isinstance(part.get("text"), str):
        raise ValueError(f"{where}.text must be a text; got {type(part.get('text')).__name__}")
    return part["text"]


def with_reasoning(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What an assistant has thought under each name that templates read, as transformers fills them in."""
    filled = []
    for message in messages:
        thought = next((message[n] for n in ("reasoning_content", "thinking", "reasoning") if n in message), None)
        filled.append(message if thought is None else {"thinking": thought, **message, "reasoning_content": thought})
    return filled
