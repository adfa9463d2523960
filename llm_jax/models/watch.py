"""The hook for looking inside a model: the model calls `watch(name, activation)` at every hidden layer.

What `watch` returns is used in place of the activation. So a test may replace an activation. The derivative of the loss
with respect to an activation is the derivative with respect to a zero that is added to it (`llm_jax.inspect`).
"""

from collections.abc import Callable

from llm_jax.shapes import Array

Watch = Callable[[str, Array], Array]


def unwatched(name: str, activation: Array) -> Array:
    """The activation as it is."""
    del name
    return activation
