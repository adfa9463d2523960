"""What the models of makemore share: a hook for their activations, and names for the axes of their parameters.

The model calls `watch(name, activation)` at every hidden layer and continues with what it returns. So a caller can
record activations, or replace one. To differentiate with respect to an activation, a caller adds a zero array to it and
differentiates with respect to that array.
"""

from collections.abc import Callable
from typing import Any

from llm_jax.shapes import Array

Watch = Callable[[str, Array], Array]


def unwatched(name: str, activation: Array) -> Array:
    """The activation as it is."""
    del name
    return activation


def letters(text: str) -> list[Any]:
    """The words of `text`, typed Any: the leaves of `dimension_letters` are strings where annotations expect arrays."""
    return list(text.split())
