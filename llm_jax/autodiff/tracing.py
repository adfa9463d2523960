"""From a function and its arguments to variables, and from variables back to plain numbers, arrays and pytrees.

What `reverse` and `forward` share: a level of their own for each derivative (see `tensor`), arguments that may be any
pytree of numbers and floating-point arrays, and answers that share no memory with the graph.
"""

import itertools
from typing import Any

import jax.tree_util as pytree
import numpy as np

from llm_jax.autodiff.arrays.tensor import Tensor
from llm_jax.autodiff.quiet import quiet

_levels = itertools.count(1)


def new_level() -> int:
    """A level above those of all derivatives in progress. It is never given out again: a variable that outlives its
    derivative is not taken for one of the next."""
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
    """`output` without the levels above: what a variable of a derivative that is over still holds is its value."""
    while isinstance(output, Tensor) and output.level > level:
        output = output.value
    return output


def like(leaf: Any, value: Any) -> Any:
    """`value` as fresh memory of `leaf`'s kind, shape and dtype: a number for a number, an array for an array.

    A value that is a variable of another derivative stays one. One that is not, though the leaf is, still gets the
    leaf's shape: the zero of an argument that was not used is as many zeros as the argument has elements.
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
