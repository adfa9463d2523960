"""The NumPy functions that work on a `Tensor`, with NumPy's names and order of arguments.

A function is registered by `@implements(np.sum)` and has the parameters of `np.sum`. Arguments that this engine does
not support (writing into an array, masks, memory layouts) raise an error that names them; none is silently ignored.
"""

from collections.abc import Callable
from typing import Any

FUNCTIONS: dict[Callable, Callable] = {}  # NumPy's function → ours


def implements(*numpy_functions: Callable) -> Callable[[Callable], Callable]:
    """Decorator that registers a function as the implementation of each of these."""

    def register(function: Callable) -> Callable:
        FUNCTIONS.update(dict.fromkeys(numpy_functions, function))
        return function

    return register


def refuse(name: str, out: Any = None, order: str = "C", where: Any = True, **others: Any) -> None:
    """Checks that the unsupported arguments of np.`name` have their defaults.

    Raises:
        TypeError: one has not; names it.
    """
    if out is not None:
        raise TypeError(f"np.{name} into an array: a recorded array cannot be changed in place; leave out the argument")
    if order != "C":
        raise TypeError(f"np.{name}: order={order!r} is not supported for a Tensor: only 'C' is")
    if where is not True:
        raise TypeError(f"np.{name}: the argument where is not supported for a Tensor: use np.where before the call")
    for argument, value in others.items():
        if value is not None:
            raise TypeError(f"np.{name}: the argument {argument} is not supported for a Tensor: leave it out")
