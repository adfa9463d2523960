"""Shared by `reverse` and `forward`: turns arguments into Tensors, and results back into plain numbers and arrays.

Each derivative has a level of its own (see `arrays.tensor`). Arguments may be any pytree of numbers and floating-point
arrays. Results share no memory with the graph.
"""

import itertools
from typing import Any

import jax.tree_util as pytree
import numpy as np

from llm_jax.autodiff.arrays.tensor import Tensor
from llm_jax.autodiff.quiet import quiet

_levels = itertools.count(1)


def new_level() -> int:
    """A level above those of all derivatives in progress.

    No level is used twice, so a variable that outlives its derivative is never confused with one of a later derivative.
    """
    return next(_levels)


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


def as_seen_at(level: int, output: Any) -> Any:
    """`output`, or its value if it is still a variable of a finished derivative, which has a higher level."""
    while isinstance(output, Tensor) and output.level > level:
        output = output.value
    return output


def like(leaf: Any, value: Any) -> Any:
    """A copy of `value` with the kind, shape and dtype of `leaf`: a number for a number, an array for an array.

    A value that is a variable of another derivative stays a variable. The gradient 0 of an argument that was not used
    is broadcast to the argument's shape.
    """
    is_number = isinstance(leaf, int | float)
    if is_number and not isinstance(value, Tensor):
        return float(value)
    shape = np.shape(leaf)
    dtype = np.dtype(float) if is_number else leaf.dtype if isinstance(leaf, Tensor) else np.asarray(leaf).dtype
    if isinstance(value, Tensor):
        value = value if value.shape == shape else np.broadcast_to(value, shape)
        return value if value.dtype == dtype else value.astype(dtype)
    if np.shape(value) != shape:
        value = np.broadcast_to(value, shape)
    array = _cast(value, dtype)
    return array[()] if isinstance(leaf, Tensor) else array


def _cast(value: Any, dtype: np.dtype) -> np.ndarray:
    if getattr(value, "dtype", None) == dtype:
        return np.array(value)
    with quiet():  # a smaller dtype may overflow
        return np.array(value, dtype=dtype)
