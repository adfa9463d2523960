"""NumPy functions that have a rule, with NumPy's names and arguments. `composed` has those that are made of others."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from llm_jax.autodiff.arrays.registry import FUNCTIONS, implements, refuse
from llm_jax.autodiff.arrays.tensor import Tensor, plain_value, record, stretch
from llm_jax.autodiff.rules import einsum as einsum_rule
from llm_jax.autodiff.rules import linear, reductions
from llm_jax.autodiff.rules.linear import Axis


def cast(x: Any, dtype: Any) -> Any:
    return x if dtype is None else x.astype(dtype) if hasattr(x, "astype") else np.asarray(x, dtype)


@implements(np.sum)
def sum(a, axis: Axis = None, dtype=None, out=None, keepdims=False, initial=None, where=True):
    refuse("sum", out, where=where, initial=initial)
    return (
        record(linear.sum, a, axis=axis, keepdims=keepdims) if dtype is None else _in(dtype, np.sum, a, axis, keepdims)
    )


@implements(np.prod)
def prod(a, axis: Axis = None, dtype=None, out=None, keepdims=False, initial=None, where=True):
    refuse("prod", out, where=where, initial=initial)
    if dtype is not None:
        return _in(dtype, np.prod, a, axis, keepdims)
    return record(reductions.prod, a, axis=axis, keepdims=keepdims)


@implements(np.max, np.amax)
def max(a, axis: Axis = None, out=None, keepdims=False, initial=None, where=True):
    refuse("max", out, where=where, initial=initial)
    return record(reductions.max, a, axis=axis, keepdims=keepdims)


@implements(np.cumsum)
def cumsum(a, axis: int | None = None, dtype=None, out=None):
    refuse("cumsum", out)
    a = cast(a, dtype)
    if axis is None:  # over all elements in row-major order
        a, axis = np.ravel(a), 0
    if not isinstance(a, Tensor):
        return np.cumsum(a, axis)
    return record(linear.cumsum, a, axis=one_axis(axis, a.ndim, "cumsum"))


@implements(np.reshape)
def reshape(a, shape=None, order="C", *, newshape=None, copy=None):
    refuse("reshape", order=order, copy=copy or None)
    if shape is None and newshape is None:
        raise TypeError("np.reshape: the argument shape is missing")
    return record(linear.reshape, a, shape=newshape if shape is None else shape)


@implements(np.transpose)
def transpose(a, axes: Sequence[int] | None = None):
    return record(linear.transpose, a, axes=axes)


@implements(np.broadcast_to)
def broadcast_to(array, shape, subok=False):
    return record(linear.broadcast_to, array, shape=shape)


@implements(np.concatenate)
def concatenate(arrays: Sequence[Any], axis: int | None = 0, out=None, *, dtype=None, casting=None):
    refuse("concatenate", out, casting=None if casting == "same_kind" else casting)
    arrays = [cast(array, dtype) for array in arrays]
    if axis is None:  # flattened arrays, one after another
        arrays, axis = [np.reshape(array, -1) for array in arrays], 0
    if not any(isinstance(array, Tensor) for array in arrays):
        return np.concatenate(arrays, axis)
    return record(linear.concatenate, *arrays, axis=axis)


@implements(np.where)
def where(condition, x=None, y=None):
    condition = plain_value(condition)
    if x is None and y is None:
        return np.where(condition)
    if not isinstance(x, Tensor) and not isinstance(y, Tensor):
        return np.where(condition, x, y)
    condition, x, y = stretch("where", (np.array(condition), x, y))
    return record(linear.where, x, y, condition=condition)


@implements(np.einsum)
def einsum(*operands, out=None, optimize=False, dtype=None, order="K", casting="safe"):
    refuse("einsum", out, "C" if order == "K" else order, dtype=dtype, casting=None if casting == "safe" else casting)
    inputs, output, arrays = einsum_rule.parse(operands)
    return record(einsum_rule.einsum, *arrays, inputs=inputs, output=output, optimize=optimize)


@implements(np.matmul)
def matmul(x1: Any, x2: Any) -> Any:
    """x @ y. Vectors and stacks of matrices are reshaped or broadcast to stacks with equal leading axes."""
    x, y, x_shape, y_shape = x1, x2, np.shape(x1), np.shape(x2)
    if not x_shape or not y_shape or x_shape[-1] != y_shape[-2 if len(y_shape) > 1 else 0]:
        raise ValueError(
            f"matmul: shapes {x_shape} and {y_shape} do not fit: "
            "the last axis of the first must be as long as the last but one of the second"
        )
    if len(x_shape) == 1:
        return np.squeeze(np.matmul(np.reshape(x, (1, -1)), y), -2 if len(y_shape) > 1 else 0)
    if len(y_shape) == 1:
        return np.squeeze(np.matmul(x, np.reshape(y, (-1, 1))), -1)
    if len(x_shape) > 2 and len(y_shape) == 2:  # one large product instead of a stack of small ones
        rows = np.matmul(np.reshape(x, (math.prod(x_shape[:-1]), x_shape[-1])), y)
        return np.reshape(rows, (*x_shape[:-1], y_shape[-1]))
    try:
        leading = np.broadcast_shapes(x_shape[:-2], y_shape[:-2])
    except ValueError:
        raise ValueError(f"matmul: shapes {x_shape} and {y_shape} are stacks that do not broadcast") from None
    return record(linear.matmul, _broadcast_to(x, leading + x_shape[-2:]), _broadcast_to(y, leading + y_shape[-2:]))


def astype(x, dtype, /, *, copy=True, device=None):
    return x.astype(dtype)


if hasattr(np, "astype"):  # since NumPy 2.1
    implements(np.astype)(astype)


def _plain(function):
    """For a function without a derivative: NumPy's own result on plain values."""

    def on_plain_values(*arguments, **options):
        return function(*map(plain_value, arguments), **{name: plain_value(x) for name, x in options.items()})

    return on_plain_values


for _function in (np.shape, np.ndim, np.size, np.argmax, np.argmin, np.argsort, np.zeros_like, np.ones_like):
    FUNCTIONS[_function] = _plain(_function)


def one_axis(axis: Any, ndim: int, name: str) -> int:
    """`axis` as a number from 0. Raises TypeError if it is not one whole number."""
    if not isinstance(axis, int | np.integer):
        raise TypeError(f"{name}: axis must be one whole number; got {axis!r}")
    return normalize_axis_index(int(axis), ndim, name)


def _in(dtype, function, a, axis, keepdims):
    return function(cast(a, dtype), axis=axis, keepdims=keepdims)


def _broadcast_to(x: Any, shape: tuple[int, ...]) -> Any:
    return x if np.shape(x) == shape else np.broadcast_to(x, shape)
