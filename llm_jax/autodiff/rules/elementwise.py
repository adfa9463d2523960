"""Rules of elementwise operations: the derivatives of a calculus book.

Output element i depends on input element i alone. So the Jacobian is diagonal and equals its transpose; its diagonal is
the partial derivative. All operands have one common shape here; broadcasting a smaller one is an operation of its own,
`linear.broadcast_to`.

At a kink the derivative is the mean of its two sides: 0 for |x| at 0, ½ each for max(a, b) at a = b. If an operand is
nan, value and derivative are nan too, so that an error stays visible.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from llm_jax.autodiff.rules.jacobian import Array, Jacobian, Result


def _slope_of_base(a: Array, n: Array, y: Array) -> Array:
    return n * a ** (n - 1 + (n == 0))  # for n = 0 this is 0·a⁰ = 0; at a = 0, 0·a⁻¹ would be nan


def _slope_of_exponent(a: Array, n: Array, y: Array) -> Array:
    return y * np.log(np.where(a == 0, y.dtype.type(1), a))  # 0 at a = 0, where 0ⁿ is constant; 0·log 0 would be nan


def _share(winner: Array, loser: Array, y: Array) -> Array:
    share = np.add(winner > loser, winner >= loser, dtype=y.dtype) / 2
    return np.where(np.isnan(y), np.nan, share)  # comparisons with nan are False, so nan must be set here


Partial = Callable[..., Array]  # ∂y/∂operand, as a function of the operands and then the value y

# ufunc → one partial derivative per operand.
PARTIALS: dict[np.ufunc, tuple[Partial, ...]] = {
    np.positive: (lambda x, y: 1.0,),
    np.negative: (lambda x, y: -1.0,),
    np.exp: (lambda x, y: y,),
    np.expm1: (lambda x, y: y + 1.0,),
    np.log: (lambda x, y: 1.0 / x,),
    np.log1p: (lambda x, y: 1.0 / (1.0 + x),),
    np.tanh: (lambda x, y: 1.0 - y * y,),
    np.sin: (lambda x, y: np.cos(x),),
    np.cos: (lambda x, y: -np.sin(x),),
    np.sqrt: (lambda x, y: 0.5 / y,),
    np.square: (lambda x, y: 2.0 * x,),
    np.absolute: (lambda x, y: np.sign(x),),
    np.add: (lambda a, b, y: 1.0, lambda a, b, y: 1.0),
    np.subtract: (lambda a, b, y: 1.0, lambda a, b, y: -1.0),
    np.multiply: (lambda a, b, y: b, lambda a, b, y: a),
    np.divide: (lambda a, b, y: 1.0 / b, lambda a, b, y: -y / b),
    np.power: (_slope_of_base, _slope_of_exponent),
    np.maximum: (lambda a, b, y: _share(a, b, y), lambda a, b, y: _share(b, a, y)),
    np.minimum: (lambda a, b, y: _share(b, a, y), lambda a, b, y: _share(a, b, y)),
}


def apply(*operands: Array, function: Any, partials: Sequence[Partial] | None = None) -> Result:
    """The value of `function` and its diagonal Jacobians. A partial derivative is computed only when it is needed."""
    y = function(*operands)
    if partials is None:
        partials = PARTIALS[function]
    return Result(y, [_diagonal(partial, operands, y) for partial in partials])


def _diagonal(partial: Partial, operands: tuple[Array, ...], y: Array) -> Jacobian:
    def scale(v: Array) -> Array:
        return v * partial(*operands, y)

    return Jacobian(push=scale, pull=scale)
