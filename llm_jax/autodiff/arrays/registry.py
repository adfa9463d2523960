"""Which NumPy functions work on a `Tensor`, under NumPy's own names, order and forms of their arguments.

A function joins by `@implements(np.sum)` and has the parameters of `np.sum`. What NumPy offers and this engine does
not (writing into an array, masks, memory layouts) is refused by name: nothing is ignored in silence.
"""

from collections.abc import Callable
from typing import Any

FUNCTIONS: dict[Callable, Callable] = {}  # NumPy's function → ours


def implements(*numpy_functions: Callable) -> Callable[[Callable], Callable]:
    """Registers the function below for each of NumPy's."""

    def register(function: Callable) -> Callable:
        FUNCTIONS.update(dict.fromkeys(numpy_functions, function))
        return function

    return register


def refuse(name: str, out: Any = None, order: str = "C", where: Any = True, **others: Any) -> None:
    """Raises TypeError for the first argument of np.`name` that asks for more than the default."""
    if out is not None:
        raise TypeError(f"np.{name} into an array: a recorded array cannot be changed in place; do without out")
    if order != "C":
        raise TypeError(f"np.{name}: order={order!r} is not supported for a Tensor: only 'C' is")
    if where is not True:
        raise TypeError(f"np.{name}: the argument where is not supported for a Tensor: choose with np.where before")
    for argument, value in others.items():
        if value is not None:
            raise TypeError(f"np.{name}: the argument {argument} is not supported for a Tensor: leave it out")
