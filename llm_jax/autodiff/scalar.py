"""The scalar engine: reverse mode where every node is one number.

Arithmetic on a `Scalar` computes the value at once and creates a node that stores its parents and the partial
derivative with respect to each. `graph.backward` only multiplies and adds these numbers. After micrograd (Karpathy
2020), whose examples it reproduces. A node here stores numbers instead of a closure, so the graph has no reference
cycles, and is freed as soon as nothing refers to it.

Left out: arrays (see `tensor`), and derivatives of derivatives.

>>> from llm_jax.autodiff import backward
>>> x, w = Scalar(2.0), Scalar(-3.0)
>>> y = (x * w + 7).tanh()
>>> round(backward(y)[w], 4)
0.8399
"""

import math
import operator
from collections.abc import Sequence
from numbers import Real
from typing import Any

from llm_jax.autodiff.graph import Node


class Scalar(Node):
    """One number that records its history: `+ - * / **` and the methods below, with Scalars and plain numbers.

    Attributes:
        value: the number.
        operation: name of the operation that created it; empty for an input.
        parents, jacobians: the operands that were Scalars, and ∂value/∂operand for each.
    """

    __slots__ = ()
    # NumPy must not treat a Scalar as an array: it leaves `np.float64(2) * scalar` to __rmul__ below.
    __array_ufunc__ = None

    def __init__(self, value: float, operation: str = "", parents: tuple["Scalar", ...] = (), jacobians: tuple = ()):
        self.value = value if parents else float(_number(value, "Scalar"))
        self.operation = operation
        self.parents = parents
        self.jacobians = jacobians

    def __add__(self, other):
        if isinstance(other, Scalar):
            return Scalar(self.value + other.value, "add", (self, other), (1.0, 1.0))
        return Scalar(self.value + _number(other, "add"), "add", (self,), (1.0,))

    def __sub__(self, other):
        if isinstance(other, Scalar):
            return Scalar(self.value - other.value, "subtract", (self, other), (1.0, -1.0))
        return Scalar(self.value - _number(other, "subtract"), "subtract", (self,), (1.0,))

    def __mul__(self, other):
        if isinstance(other, Scalar):
            return Scalar(self.value * other.value, "multiply", (self, other), (other.value, self.value))
        factor = _number(other, "multiply")
        return Scalar(self.value * factor, "multiply", (self,), (factor,))

    def __truediv__(self, other):
        """a/b: ∂/∂a = 1/b, ∂/∂b = −a/b²."""
        divisor = other.value if isinstance(other, Scalar) else _number(other, "divide")
        value = _divide(self.value, divisor)
        if isinstance(other, Scalar):
            return Scalar(value, "divide", (self, other), (1.0 / divisor, -value / divisor))
        return Scalar(value, "divide", (self,), (1.0 / divisor,))

    def __pow__(self, other):
        """aⁿ: ∂/∂a = n·aⁿ⁻¹; for a Scalar n also ∂/∂n = aⁿ·log a, which needs a > 0."""
        n = other.value if isinstance(other, Scalar) else _number(other, "power")
        value = _power(self.value, n)
        slope = _slope_of_power(self.value, n)
        if not isinstance(other, Scalar):
            return Scalar(value, "power", (self,), (slope,))
        return Scalar(value, "power", (self, other), (slope, value * math.log(_positive_base(self.value, n))))

    def exp(self):
        try:
            value = math.exp(self.value)
        except OverflowError:
            raise OverflowError(f"exp: e^{self.value} is beyond the largest float (e^709.78)") from None
        return Scalar(value, "exp", (self,), (value,))

    def log(self):
        if self.value <= 0:
            raise ValueError(f"log: needs a number above 0; got {self.value}")
        return Scalar(math.log(self.value), "log", (self,), (1.0 / self.value,))

    def tanh(self):
        value = math.tanh(self.value)
        return Scalar(value, "tanh", (self,), (1.0 - value * value,))

    def relu(self):
        """max(0, x); the derivative at 0 is taken as 0, as in JAX and PyTorch."""
        if self.value > 0:
            return Scalar(self.value, "relu", (self,), (1.0,))
        if self.value <= 0:
            return Scalar(0.0, "relu", (self,), (0.0,))
        return Scalar(self.value, "relu", (self,), (math.nan,))  # nan stays nan

    __radd__ = __add__
    __rmul__ = __mul__

    def __pos__(self):
        return Scalar(self.value, "positive", (self,), (1.0,))

    def __neg__(self):
        return Scalar(-self.value, "negative", (self,), (-1.0,))

    def __rsub__(self, other):
        return Scalar(_number(other, "subtract") - self.value, "subtract", (self,), (-1.0,))

    def __rtruediv__(self, other):
        value = _divide(_number(other, "divide"), self.value)
        return Scalar(value, "divide", (self,), (-value / self.value,))

    def __rpow__(self, other):
        """cˣ: ∂/∂x = cˣ·log c."""
        base = _positive_base(_number(other, "power"), self.value)
        value = _power(base, self.value)
        return Scalar(value, "power", (self,), (value * math.log(base),))

    def __float__(self):
        raise TypeError("float(scalar) would drop its history: read scalar.value, or use its method exp, log or tanh")

    def __repr__(self):
        return f"Scalar({self.value:.6g}{', ' + self.operation if self.operation else ''})"


def weighted_sum(
    weights: Sequence[Scalar | float], values: Sequence[Scalar | float], start: Scalar | float = 0.0
) -> Scalar:
    """start + Σ wᵢ·xᵢ as one node: ∂/∂wᵢ = xᵢ, ∂/∂xᵢ = wᵢ, ∂/∂start = 1.

    One node may stand for any operation whose derivative is known. A neuron as one node, instead of two per input, has
    the same value and the same gradients in a fraction of the time.

    Raises:
        ValueError: the numbers of weights and values differ.
        TypeError: no operand is a Scalar.
    """
    if len(weights) != len(values):
        raise ValueError(f"weighted_sum: {len(weights)} weights and {len(values)} values")
    operands = (*weights, *values, start)
    numbers = [o.value if isinstance(o, Scalar) else _number(o, "weighted_sum") for o in operands]
    w, x = numbers[: len(weights)], numbers[len(weights) : -1]
    edges = [(o, slope) for o, slope in zip(operands, (*x, *w, 1.0), strict=True) if isinstance(o, Scalar)]
    if not edges:
        raise TypeError("weighted_sum: none of the operands is a Scalar, so there is nothing to record")
    parents, slopes = zip(*edges, strict=True)
    return Scalar(sum(map(operator.mul, w, x), start=numbers[-1]), "weighted sum", parents, slopes)


def _number(operand: Any, operation: str) -> float:
    if type(operand) in (int, float):  # these first: asking for Real is slow
        return operand
    if isinstance(operand, Real):
        return float(operand)  # a float32 or float16 of NumPy would lower the precision of everything behind it
    shape = getattr(operand, "shape", None)
    kind = f"an array of shape {shape}" if shape else type(operand).__name__
    raise TypeError(f"{operation}: a Scalar (shape ()) takes numbers and Scalars; got {kind}: use Tensor for arrays")


def _divide(dividend: float, divisor: float) -> float:
    if divisor == 0:
        raise ZeroDivisionError(f"divide: {dividend} / {divisor} is a division by zero")
    return dividend / divisor


def _positive_base(base: float, exponent: float) -> float:
    if base <= 0:
        raise ValueError(f"power: a variable exponent needs a base above 0; got {base} ** {exponent}")
    return base


def _power(base: float, exponent: float) -> float:
    if base == 0 and exponent < 0:
        raise ZeroDivisionError(f"power: {base} ** {exponent} is a division by zero")
    if base < 0 and math.isfinite(exponent) and exponent % 1 != 0:
        raise ValueError(f"power: a base below 0 needs a whole exponent; got {base} ** {exponent}")
    try:
        return base**exponent
    except OverflowError:
        raise OverflowError(f"power: {base} ** {exponent} is beyond the largest float") from None


def _slope_of_power(base: float, exponent: float) -> float:
    """n·aⁿ⁻¹, for an aⁿ that exists. It may still be infinite, such as the derivative of √a at 0."""
    if exponent == 0:
        return 0.0
    if base == 0 and exponent < 1:
        return math.inf
    try:
        return exponent * base ** (exponent - 1)
    except OverflowError:
        return math.copysign(math.inf, exponent) * (-1.0 if base < 0 and exponent % 2 == 0 else 1.0)
