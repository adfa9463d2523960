"""The values of a row, the same whatever file it comes from.

pandas writes NaN where a value is missing, and tables hold lists as JSON. Only columns that hold lists are parsed: an
answer may be JSON itself.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

CHATS = ("messages", "conversations")
TEXTS_OR_MESSAGES = ("prompt", "completion", "chosen", "rejected")
TOOLS = ("tools", "functions")
OTHER_LISTS = ("history", *TOOLS)
FORMS = (("role", "content"), ("from", "value"))  # of a message
_PYTHON = re.compile(r"\s*\[\s*\{\s*['\"](role|content|from|value)['\"]\s*:")


def values_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with null for NaN, and with lists where the columns of lists hold JSON."""
    return {name: _value(name, without_nan(value)) for name, value in row.items()}


def without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, (list, tuple)):
        return [without_nan(one) for one in value]
    return {name: without_nan(one) for name, one in value.items()} if isinstance(value, Mapping) else value


def is_empty(value: Any) -> bool:
    """Whether a field holds nothing: null, a blank text, an empty list or object."""
    return value is None or (not value.strip() if isinstance(value, str) else value in ([], {}))


def parsed(value: Any) -> Any:
    """The list, object or null that a text spells as JSON; anything else as it is."""
    if not isinstance(value, str) or not value.strip().startswith(("[", "{", "null")):
        return value
    try:
        return without_nan(json.loads(value))
    except (ValueError, RecursionError):
        return value


def refuse_python(text: str, name: str) -> None:
    """Raises ValueError for messages as Python or NumPy prints them: they would be learned as that text."""
    if _PYTHON.match(text) and parsed(text) is text:
        raise ValueError(
            f"{name!r} holds messages as Python prints them, which is no JSON (`to_csv` writes lists so): save the "
            "rows as JSON lines or parquet"
        )


def _value(name: str, value: Any) -> Any:
    if name in (*CHATS, *OTHER_LISTS):
        return parsed(value)
    if name in TEXTS_OR_MESSAGES:
        found = [value] if _is_message(value) else parsed(value)
        return found if _are_messages(found) else value
    return value


def _are_messages(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_message(one) for one in value)


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and any(set(names) <= set(value) for names in FORMS)
