"""NumPy functions that are composed of others, and therefore need no rule. Names and arguments are NumPy's."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from llm_jax.autodiff.arrays.numpy_functions import cast, one_axis
from llm_jax.autodiff.arrays.registry import implements, refuse
from llm_jax.autodiff.arrays.tensor import plain_value
from llm_jax.autodiff.rules.jacobian import Array
from llm_jax.autodiff.rules.linear import Axis, reduced_axes


@implements(np.mean)
def mean(a: Array, axis: Axis = None, dtype=None, out=None, keepdims=False, *, where=True) -> Array:
    refuse("mean", out, where=where)
    return np.sum(cast(a, dtype), axis=axis, keepdims=keepdims) * _reciprocal(_summands(a, axis))


@implements(np.var)
def var(
    a: Array, axis: Axis = None, dtype=None, out=None, ddof=0, keepdims=False, *, where=True, mean=None, correction=None
) -> Array:
    """Σ(x − mean)² / (n − ddof)."""
    refuse("var", out, where=where)
    if correction is not None and ddof != 0:
        raise ValueError("np.var: ddof and correction are the same argument: give one of them")
    x, ddof = cast(a, dtype), ddof if correction is None else correction
    centre = np.mean(x, axis=axis, keepdims=True) if mean is None else mean
    squares = np.sum(np.square(x - centre), axis=axis, keepdims=keepdims)
    return squares * _reciprocal(_summands(x, axis) - ddof)


@implements(np.std)
def std(a: Array, axis: Axis = None, dtype=None, out=None, ddof=0, keepdims=False, **others) -> Array:
    """√variance. If all numbers are equal it has a kink, as |x| has at 0; the derivative there is set to 0."""
    refuse("std", out)
    variance = np.var(a, axis=axis, dtype=dtype, ddof=ddof, keepdims=keepdims, **others)
    at_kink = _are_equal(plain_value(a), axis, keepdims) & np.isfinite(plain_value(variance))
    return np.where(at_kink, 0.0, np.sqrt(np.where(at_kink, 1.0, variance)))


@implements(np.min, np.amin)
def min(a: Array, axis: Axis = None, out=None, keepdims=False, initial=None, where=True) -> Array:
    refuse("min", out, where=where, initial=initial)
    return -np.max(-a, axis=axis, keepdims=keepdims)


@implements(np.clip)
def clip(a: Array, a_min=None, a_max=None, out=None, *, min=None, max=None, **options) -> Array:
    """minimum(maximum(a, a_min), a_max); None means no bound. `min` and `max` are other names of the bounds."""
    refuse("clip", out, **options)
    if (a_min is not None or a_max is not None) and (min is not None or max is not None):
        raise ValueError("np.clip: a_min and a_max are the same as min and max: give one pair")
    low, high = (min if a_min is None else a_min), (max if a_max is None else a_max)
    raised = +a if low is None else np.maximum(a, low)
    return raised if high is None else np.minimum(raised, high)


@implements(np.stack)
def stack(arrays: Sequence[Array], axis: int = 0, out=None, *, dtype=None, casting=None) -> Array:
    columns = [np.expand_dims(array, axis) for array in arrays]
    return np.concatenate(columns, axis=axis, out=out, dtype=dtype, casting=casting or "same_kind")


@implements(np.split)
def split(ary: Array, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Array]:
    """The parts between the given indices along `axis`; for a number n, n parts of equal length."""
    axis = one_axis(axis, np.ndim(ary), "split")
    length = np.shape(ary)[axis]
    if np.ndim(indices_or_sections):
        borders = [0, *(int(i) for i in np.asarray(indices_or_sections)), length]
    else:
        parts = int(np.asarray(indices_or_sections))
        if parts < 1 or length % parts:
            raise ValueError(f"split: an axis of length {length} has no {parts} parts of equal length")
        borders = [i * length // parts for i in range(parts + 1)]
    before = (slice(None),) * axis
    return [ary[(*before, slice(a, b))] for a, b in pairwise(borders)]


@implements(np.take_along_axis)
def take_along_axis(arr: Array, indices: Any, axis: int | None = -1) -> Array:
    """Elements along `axis`, selected by `indices` for each position on the other axes."""
    if axis is None:
        arr, axis = np.ravel(arr), 0
    axis, indices = one_axis(axis, np.ndim(arr), "take_along_axis"), plain_value(indices)
    if np.ndim(indices) != np.ndim(arr) or np.asarray(indices).dtype.kind not in "iu":
        raise ValueError(
            f"take_along_axis: the indices must be whole numbers with {np.ndim(arr)} axes, like the array; "
            f"got {np.asarray(indices).dtype} of shape {np.shape(indices)}"
        )
    places: list[Any] = list(np.indices([n if i != axis else 1 for i, n in enumerate(np.shape(arr))], sparse=True))
    places[axis] = np.asarray(indices)
    return arr[tuple(places)]


@implements(np.dot)
def dot(a: Array, b: Array, out=None) -> Array:
    """Sums over the last axis of a and the second-to-last axis of b (of a vector: its only one); scalars multiply."""
    refuse("dot", out)
    a_shape, b_shape = np.shape(a), np.shape(b)
    if not a_shape or not b_shape:
        return np.multiply(a, b)
    if a_shape[-1] != b_shape[-2 if len(b_shape) > 1 else 0]:
        raise ValueError(
            f"dot: shapes {a_shape} and {b_shape} do not fit: "
            "the last axis of the first must be as long as the second-to-last of the second"
        )
    if len(b_shape) <= 2:
        return np.matmul(a, b)
    summed = len(b_shape) - 2
    columns = np.transpose(b, (summed, *range(summed), summed + 1))
    products = np.matmul(a, np.reshape(columns, (a_shape[-1], math.prod(b_shape[:-2]) * b_shape[-1])))
    return np.reshape(products, (*a_shape[:-1], *b_shape[:-2], b_shape[-1]))


@implements(np.expand_dims)
def expand_dims(a: Array, axis: int | Sequence[int]) -> Array:
    ndim = np.ndim(a) + np.size(axis)
    new, old = normalize_axis_tuple(axis, ndim, "expand_dims"), iter(np.shape(a))
    return np.reshape(a, tuple(1 if i in new else next(old) for i in range(ndim)))


@implements(np.squeeze)
def squeeze(a: Array, axis: Axis = None) -> Array:
    """Removes the axes `axis`; for None, every axis of length 1."""
    shape = np.shape(a)
    ones = tuple(i for i, n in enumerate(shape) if n == 1)
    removed = ones if axis is None else normalize_axis_tuple(axis, len(shape), "squeeze")
    if not set(removed) <= set(ones):
        raise ValueError(f"squeeze: axis {axis} of shape {shape} does not have length 1")
    return np.reshape(a, tuple(n for i, n in enumerate(shape) if i not in removed))


@implements(np.ravel)
def ravel(a: Array, order="C") -> Array:
    refuse("ravel", order=order)
    return np.reshape(a, -1)


@implements(np.swapaxes)
def swapaxes(a: Array, axis1: int, axis2: int) -> Array:
    axes = list(range(np.ndim(a)))
    first, second = normalize_axis_tuple((axis1, axis2), len(axes), "swapaxes", allow_duplicate=True)
    axes[first], axes[second] = axes[second], axes[first]
    return np.transpose(a, axes)


def _are_equal(x: Array, axis: Axis, keepdims: bool) -> Any:
    """Whether all elements that a reduction over `axis` combines are equal; False where one is NaN."""
    if not np.size(x):
        return np.zeros(np.shape(np.sum(x, axis=axis, keepdims=keepdims)), dtype=bool)
    return np.max(x, axis=axis, keepdims=keepdims) == np.min(x, axis=axis, keepdims=keepdims)


def _summands(x: Array, axis: Axis) -> int:
    """How many elements a reduction over `axis` combines into one."""
    shape = np.shape(x)
    return math.prod(shape[i] for i in reduced_axes(axis, len(shape)))


def _reciprocal(count: float) -> float:
    """1/count; ∞ for 0, so that the mean of no elements is 0·∞ = NaN, as in NumPy."""
    return 1 / count if count > 0 else math.inf
