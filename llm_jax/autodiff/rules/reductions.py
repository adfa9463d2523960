"""Rules of nonlinear reductions: the largest element, and the product."""

import math
from collections.abc import Callable

import numpy as np

from llm_jax.autodiff.rules.jacobian import Array, Jacobian, Result
from llm_jax.autodiff.rules.linear import Axis, kept_shape, reduced_axes


def max(x: Array, axis: Axis = None, keepdims: bool = False) -> Result:
    """The largest element gets the gradient; several equal ones share it equally, as in JAX.

    If an element is nan, np.max is nan and equals no element, so every weight is 0/0 = nan.
    """
    value = np.max(x, axis=axis, keepdims=keepdims)

    def weights() -> Array:
        is_largest = x == np.reshape(value, kept_shape(np.shape(x), axis))
        return np.divide(is_largest, np.sum(is_largest, axis=axis, keepdims=True), dtype=x.dtype)

    return Result(value, [_weighted_sum(x, weights, axis, keepdims)])


def prod(x: Array, axis: Axis = None, keepdims: bool = False) -> Result:
    """The derivative with respect to one factor is the product of all others. (y/x would be 0/0 for a factor of 0.)"""
    value = np.prod(x, axis=axis, keepdims=keepdims)
    return Result(value, [_weighted_sum(x, lambda: _product_of_the_others(x, axis), axis, keepdims)])


def _weighted_sum(x: Array, weights: Callable[[], Array], axis: Axis, keepdims: bool) -> Jacobian:
    """∂y/∂xᵢ = weightᵢ, for a y that is computed over `axis`."""

    def push(v: Array) -> Array:
        return np.sum(v * weights(), axis=axis, keepdims=keepdims)

    def pull(g: Array) -> Array:
        return np.reshape(g, kept_shape(np.shape(x), axis)) * weights()

    return Jacobian(push, pull)


def _product_of_the_others(x: Array, axis: Axis) -> Array:
    """For each element, the product of all elements before it along `axis` times that of all after it."""
    shape = np.shape(x)
    if 0 in shape:
        return np.ones(shape, dtype=x.dtype)
    reduced = reduced_axes(axis, len(shape))
    order = (*(i for i in range(len(shape)) if i not in reduced), *reduced)
    moved = np.transpose(x, order)
    rows = np.reshape(moved, (-1, math.prod(shape[i] for i in reduced)))
    others = _product_of_those_before(rows) * _product_of_those_before(rows[:, ::-1])[:, ::-1]
    return np.transpose(np.reshape(others, np.shape(moved)), np.argsort(order))


def _product_of_those_before(rows: Array) -> Array:
    """For each element of a row, the product of those on its left. Each round doubles the number of factors."""
    products = np.concatenate([np.ones((len(rows), 1), dtype=rows.dtype), rows[:, :-1]], axis=1)
    reach = 1
    while reach < rows.shape[1]:
        products = np.concatenate([products[:, :reach], products[:, reach:] * products[:, :-reach]], axis=1)
        reach *= 2
    return products
