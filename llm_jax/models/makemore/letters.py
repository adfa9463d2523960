"""Dimension letters of a parameter tree."""

from typing import Any


def letters(text: str) -> list[Any]:
    """Strings where a parameter's annotation expects arrays: the leaves of `dimension_letters` are strings."""
    return list(text.split())
