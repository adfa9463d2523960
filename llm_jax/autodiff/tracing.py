"""From a function and its arguments to variables, and from variables back to plain numbers, arrays and pytrees.

What `reverse` and `forward` share: a level of their own for each derivative in progress (see `tensor`), arguments
that may be any pytree of numbers and floating-point arrays, and answers that share no memory with the graph.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax.tree_util as pytree
import numpy as np

from llm_jax.autodiff.tensor import Tensor

_depth: ContextVar[int] = ContextVar("derivatives in progress", default=0)


@contextmanager
def new_level() -> Iterator[int]:
    """The level of the derivative taken within; 1 for the outermost."""
    token = _depth.set(_depth.get() + 1)
    try:
        yield _depth.get()
    finally:
        _depth.reset(token)


def variables(arguments: Any, level: int) -> tuple[list[Tensor], Any]:
    """Every leaf of the pytree as a Tensor of this level, and the same pytree with the Tensors in place.

    Raises:
        TypeError: a leaf is not a floating-point array or a number; names the leaf.
    """
    leaves_with_path, structure = pytree.tree_flatten_with_path(arguments)
    tensors = []
    for path, leaf in leaves_with_path:
        try:
            tensors.append(Tensor(leaf, level))
        except TypeError as error:
            raise TypeError(f"argument{pytree.keystr(path)}: {error}") from None
    return tensors, pytree.tree_unflatten(structure, tensors)


def like(leaf: Any, value: Any) -> Any:
    """`value` as fresh memory of `leaf`'s kind and shape: a number for a number, an array of its dtype for an array."""
    if isinstance(leaf, Tensor) or isinstance(value, Tensor):
        return value
    if isinstance(leaf, int | float):
        return float(value)
    leaf = np.asarray(leaf)
    return np.array(np.broadcast_to(value, leaf.shape), dtype=leaf.dtype)
