"""Rules of the linear operations, which move, sum or mix elements.

For a linear operation, the Jacobian times a direction v is the operation applied to v. A gradient is pulled back by the
transpose of the operation, and the transposes come in pairs:

    sum ↔ broadcast        index ↔ scatter        concatenate ↔ slice
    reshape ↔ reshape back        transpose ↔ inverse transpose        x·W ↔ g·Wᵀ and xᵀ·g
    cumulative sum ↔ cumulative sum from the other end        cast ↔ cast back

The functions have NumPy's names and arguments.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from llm_jax.autodiff.rules.jacobian import Array, Jacobian, Result

Axis = int | tuple[int, ...] | None


def broadcast_to(x: Array, shape: int | tuple[int, ...]) -> Result:
    """An element that is copied to many places gets the sum of their gradients: the transpose is a sum."""
    before, shape = np.shape(x), tuple(shape) if isinstance(shape, Iterable) else (shape,)
    added = len(shape) - len(before)
    broadcast = tuple(i for i in range(len(shape)) if i < added or before[i - added] != shape[i])

    def pull(g: Array) -> Array:
        return np.reshape(np.sum(g, axis=broadcast), before)

    return Result(np.broadcast_to(x, shape), [Jacobian(lambda v: np.broadcast_to(v, shape), pull)])


def sum(x: Array, axis: Axis = None, keepdims: bool = False) -> Result:
    """Every summand has the derivative 1, so each gets a copy of the sum's gradient."""
    shape = np.shape(x)
    kept = kept_shape(shape, axis)
    return Result(
        np.sum(x, axis=axis, keepdims=keepdims),
        [
            Jacobian(
                push=lambda v: np.sum(v, axis=axis, keepdims=keepdims),
                pull=lambda g: np.broadcast_to(np.reshape(g, kept), shape),
            )
        ],
    )


def cumsum(x: Array, axis: int) -> Result:
    """Element i is part of its own cumulative sum and of all later ones, so its gradient is a sum from the end."""
    backwards = (slice(None),) * (axis % np.ndim(x)) + (slice(None, None, -1),)

    def pull(g: Array) -> Array:
        return np.cumsum(g[backwards], axis=axis)[backwards]

    return Result(np.cumsum(x, axis=axis), [Jacobian(lambda v: np.cumsum(v, axis=axis), pull)])


def astype(x: Array, dtype) -> Result:
    """The gradient is cast back to the precision of x."""
    before = x.dtype
    return Result(x.astype(dtype), [Jacobian(lambda v: v.astype(dtype), lambda g: g.astype(before))])


def matmul(x: Array, y: Array) -> Result:
    """Σₖ xᵢₖ·yₖⱼ for matrices, or stacks with equal leading axes (`numpy_functions.matmul` broadcasts them)."""
    by_x = Jacobian(push=lambda v: v @ y, pull=lambda g: g @ np.swapaxes(y, -1, -2))
    by_y = Jacobian(push=lambda v: x @ v, pull=lambda g: np.swapaxes(x, -1, -2) @ g)
    return Result(x @ y, [by_x, by_y])


def reshape(x: Array, shape: int | tuple[int, ...]) -> Result:
    before = np.shape(x)
    return Result(np.reshape(x, shape), [Jacobian(lambda v: np.reshape(v, shape), lambda g: np.reshape(g, before))])


def transpose(x: Array, axes: Sequence[int] | None = None) -> Result:
    back = None if axes is None else np.argsort(normalize_axis_tuple(axes, np.ndim(x)))
    return Result(np.transpose(x, axes), [Jacobian(lambda v: np.transpose(v, axes), lambda g: np.transpose(g, back))])


def getitem(x: Array, index) -> Result:
    """x[index], also with arrays of integers. An element that is taken twice gets the sum of both gradients."""
    shape = np.shape(x)
    return Result(x[index], [Jacobian(lambda v: v[index], lambda g: add_at(g, index, shape))])


def scatter(x: Array, index, shape: tuple[int, ...]) -> Result:
    """Zeros of `shape`, with x added at `index`: the transpose of `getitem`."""
    return Result(add_at(x, index, shape), [Jacobian(lambda v: add_at(v, index, shape), lambda g: g[index])])


def concatenate(*arrays: Array, axis: int = 0) -> Result:
    """Each operand is a slice of the result, and gets the gradient of that slice."""
    value = np.concatenate(arrays, axis=axis)
    before = (slice(None),) * (axis % value.ndim)
    ends = np.cumsum([array.shape[axis] for array in arrays])

    def slice_of(array: Array, end: int) -> Jacobian:
        index = (*before, slice(end - array.shape[axis], end))
        return Jacobian(push=lambda v: add_at(v, index, value.shape), pull=lambda g: g[index])

    return Result(value, [slice_of(array, int(end)) for array, end in zip(arrays, ends, strict=True)])


def where(x: Array, y: Array, condition: Array) -> Result:
    """Linear in x and y for a given condition. An element that is not selected gets 0, even if g is infinite."""

    def only(side: Array) -> Jacobian:
        def select(v: Array) -> Array:
            return np.where(side, v, 0.0)

        return Jacobian(push=select, pull=select)

    return Result(np.where(condition, x, y), [only(condition), only(np.logical_not(condition))])


def add_at(x: Array, index, shape: tuple[int, ...]) -> Array:
    """Zeros of `shape`, with x added at `index`; unlike `zeros[index] = x`, repeated indices add up."""
    if hasattr(x, "add_at"):  # a Tensor; NumPy has no function for this that would dispatch to it
        return x.add_at(index, shape)
    zeros = np.zeros(shape, dtype=np.asarray(x).dtype)
    np.add.at(zeros, index, x)
    return zeros


def reduced_axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """The axes that a reduction runs over, counted from 0: all of them for None."""
    return tuple(range(ndim)) if axis is None else normalize_axis_tuple(axis, ndim)


def kept_shape(shape: tuple[int, ...], axis: Axis) -> tuple[int, ...]:
    """The shape of a reduction with keepdims=True."""
    reduced = reduced_axes(axis, len(shape))
    return tuple(1 if i in reduced else n for i, n in enumerate(shape))
