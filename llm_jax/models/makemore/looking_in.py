"""Two ways to look into a model from outside: at its activations, and at the meaning of its parameters' axes.

`watch(name, activation)` is called at every hidden layer, and what it returns is used in place of the activation. So a
test may replace one, and the derivative with respect to an activation is the derivative with respect to a nudge of zero
that was added to it.
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
    """Strings where a parameter's annotation expects arrays: the leaves of `dimension_letters` are strings."""
    return list(text.split())
