"""Makes recorded values read-only.

NumPy arrays can be changed in place. If a recorded array changed, gradients would silently be wrong. So the graph
copies all arrays that come from outside, and marks the arrays that it computes as read-only: NumPy then refuses to
write to them.
"""

from typing import Any

import numpy as np


def freeze(value: Any) -> Any:
    """Marks an array as read-only. An array of shape () becomes a NumPy number, which cannot change."""
    if isinstance(value, np.ndarray):
        if not value.shape:
            return value[()]
        value.flags.writeable = False
    return value


def leaf(value: Any) -> Any:
    """The value that an input of the graph holds.

    Raises:
        TypeError: `value` is not a floating-point number or array.
    """
    if isinstance(value, float | int) and not isinstance(value, bool):
        return np.float64(value)
    _refuse_mask(value, "Tensor")
    array = np.array(value)
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(
            f"a Tensor holds floating-point numbers; got {array.dtype} of shape {array.shape}: "
            "convert it first, for example with .astype(np.float32)"
        )
    return freeze(array)


def constant(value: Any, operation: str) -> Any:
    """The value that an operation records for an operand that is not differentiated.

    Raises:
        TypeError: `value` is neither a real number nor an array of them.
    """
    if isinstance(value, float | int):
        return value
    _refuse_mask(value, operation)
    array = value if isinstance(value, np.generic) else np.array(value)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{operation}: a Tensor cannot be combined with {type(value).__name__}")
    if np.iscomplexobj(array):  # the transposes here do not conjugate, so gradients would silently be wrong
        raise TypeError(f"{operation}: a Tensor is real; got {array.dtype}: write out the real and the imaginary part")
    return freeze(array)


def _refuse_mask(value: Any, operation: str) -> None:
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{operation}: a Tensor has no mask, so it would be lost: fill the array first, with .filled()")


def index(key: Any) -> Any:
    """A copy of an index expression, the part between square brackets."""
    if isinstance(key, tuple):
        return tuple(map(index, key))
    if isinstance(key, list) and not key:
        return np.array(key, np.intp)  # NumPy would make floats of nothing
    return np.array(key) if isinstance(key, np.ndarray | list) else key
