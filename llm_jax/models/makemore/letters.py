"""Dimension letters of a parameter tree."""

from typing import Any


def letters(text: str) -> list[Any]:
    """The words of `text`, typed as Any: `dimension_letters` puts them where parameters are annotated as arrays."""
    return list(text.split())
