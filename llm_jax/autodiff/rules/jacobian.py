"""A Jacobian as two functions, J·v and g·J, and the result of a differentiation rule.

A rule takes plain arrays and returns the value of one operation together with one `Jacobian` per operand. The matrix
itself, outputs × inputs, is never built: for a layer of 100 × 100 images it would have 10⁸ entries, nearly all zero.

The rules call only NumPy functions, and NumPy passes a call to `Tensor` if an argument is one. So the same lines also
work while *their* derivatives are recorded, which gives second derivatives.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Array = Any  # np.ndarray or a number, or, while derivatives of derivatives are recorded, a Tensor


class Jacobian:
    """A Jacobian J: `jacobian * tangent` is J·v (forward mode), `gradient * jacobian` is g·J (reverse mode).

    The two functions are each other's transpose: g·(J·v) = (g·J)·v for all g and v.
    """

    __slots__ = ("pull", "push")
    __array_ufunc__ = None  # leaves `array * jacobian` to __rmul__

    def __init__(self, push: Callable[[Array], Array], pull: Callable[[Array], Array]):
        self.push = push
        self.pull = pull

    def __mul__(self, tangent: Array) -> Array:
        return self.push(tangent)

    def __rmul__(self, gradient: Array) -> Array:
        return self.pull(gradient)


class Result(NamedTuple):
    """What a rule returns."""

    value: Array
    jacobians: Sequence[Jacobian]
