"""The array engine: reverse mode where every node is an array, for functions written in NumPy.

A `Tensor` takes part in NumPy calls: `np.exp(t)`, `x @ t`, `np.concatenate([t, u])` arrive here through NumPy's own
protocols (NEP 13 and NEP 18), are computed by the rule in `elementwise` or `linear`, and leave a node in the graph.
After autograd (Maclaurin, Duvenaud & Adams 2015).

Whatever would let a value slip out of the graph, or change after it was recorded (see `frozen`), is refused with a
reason.

Derivatives of derivatives: each `grad` or `jvp` in progress is one level. An operation belongs to the highest level
among its operands; those of lower levels are constants to it, though they may well be variables further down.

Left out: complex numbers, integers, and the NumPy functions not in the tables at the end and in `elementwise`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from llm_jax.autodiff import elementwise, frozen, functions, linear
from llm_jax.autodiff.graph import Node
from llm_jax.autodiff.jacobian import Result


class Tensor(NDArrayOperatorsMixin, Node):
    """An array with a history; an input of the graph when built by hand, as in `Tensor([1.0, 2.0])`.

    Operators are NumPy's: the mixin turns `a + b` into `np.add(a, b)`, which arrives in `__array_ufunc__`.

    Args:
        value: floating-point array or number. It is copied.
        level: how many derivatives are in progress around it; 0 when built by hand.

    Raises:
        TypeError: `value` does not hold floating-point numbers.
    """

    __slots__ = ("level",)

    def __init__(self, value: Any, level: int = 0):
        self.value = value if isinstance(value, Tensor) else frozen.leaf(value)
        self.operation, self.parents, self.jacobians, self.level = "", (), (), level

    @property
    def shape(self) -> tuple[int, ...]:
        return np.shape(self.value)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype:
        return self.value.dtype

    @property
    def one(self) -> Any:
        return self.dtype.type(1)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *operands, **options):
        if method != "__call__" or "out" in options:
            how = f".{method}" if method != "__call__" else " into an array"
            raise TypeError(f"np.{ufunc.__name__}{how}: a recorded array cannot be changed in place")
        if options:
            raise TypeError(f"np.{ufunc.__name__}: the option {', '.join(options)} is not supported for a Tensor")
        if ufunc in WITHOUT_DERIVATIVE:
            return ufunc(*map(plain_value, operands))
        if ufunc is np.matmul:
            return matmul(*operands)
        if ufunc not in elementwise.PARTIALS:
            raise TypeError(_no_rule(ufunc.__name__))
        return record(elementwise.apply, *stretch(ufunc.__name__, operands), name=ufunc.__name__, ufunc=ufunc)

    def __array_function__(self, function, types, arguments, options):
        if function not in FUNCTIONS:
            raise TypeError(_no_rule(function.__name__))
        return FUNCTIONS[function](*arguments, **options)

    # `t += 1` gives the name t to a new node; the old one stays as it was recorded.
    __iadd__ = NDArrayOperatorsMixin.__add__
    __isub__ = NDArrayOperatorsMixin.__sub__
    __imul__ = NDArrayOperatorsMixin.__mul__
    __itruediv__ = NDArrayOperatorsMixin.__truediv__
    __ipow__ = NDArrayOperatorsMixin.__pow__

    # Graphs look nodes up by identity, while == compares element by element.
    __hash__ = object.__hash__  # pyright: ignore[reportAssignmentType]

    def __getitem__(self, index) -> "Tensor":
        return record(linear.getitem, self, index=frozen.index(index))

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len(): a Tensor of shape () has no length")
        return self.shape[0]

    def __iter__(self) -> "Iterator[Tensor]":
        return (self[i] for i in range(len(self)))

    def add_at(self, index, shape: tuple[int, ...]) -> "Tensor":
        """Zeros of `shape`, with this added at `index`."""
        return record(linear.scatter, self, index=index, shape=shape)

    @property
    def T(self) -> Any:
        return np.transpose(self)

    def sum(self, axis=None, keepdims=False) -> Any:
        return np.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis=None, keepdims=False) -> Any:
        return np.mean(self, axis=axis, keepdims=keepdims)

    def var(self, axis=None, ddof=0, keepdims=False) -> Any:
        return np.var(self, axis=axis, ddof=ddof, keepdims=keepdims)

    def std(self, axis=None, ddof=0, keepdims=False) -> Any:
        return np.std(self, axis=axis, ddof=ddof, keepdims=keepdims)

    def max(self, axis=None, keepdims=False) -> Any:
        return np.max(self, axis=axis, keepdims=keepdims)

    def min(self, axis=None, keepdims=False) -> Any:
        return np.min(self, axis=axis, keepdims=keepdims)

    def reshape(self, *shape) -> Any:
        return np.reshape(self, shape[0] if len(shape) == 1 else shape)

    def __setitem__(self, index, value):
        raise TypeError("a recorded array cannot be changed in place: build a new one, for example with np.where")

    def __array__(self, *_, **__):
        raise TypeError(
            "a Tensor cannot become part of a plain array, its history would be lost: "
            "use np.stack or np.concatenate, or .value where the history is not wanted"
        )

    def __float__(self):
        raise TypeError("float(tensor) would drop its history: use np.exp instead of math.exp, or .value")

    def __bool__(self) -> bool:
        return bool(plain_value(self))

    def __repr__(self) -> str:
        return f"Tensor({plain_value(self)!r}{', ' + self.operation if self.operation else ''})"


def plain_value(x: Any) -> Any:
    """The array or number inside a Tensor, through all levels; anything else as it is."""
    while isinstance(x, Tensor):
        x = x.value
    return x


def record(rule: Callable[..., Result], *operands: Any, name: str = "", **parameters) -> Tensor:
    """Applies `rule` to the operands' values and returns the new node; `parameters` reach the rule as they are."""
    name = name or rule.__name__
    level = max([operand.level for operand in operands if isinstance(operand, Tensor)])
    values, variables = [], []
    for position, operand in enumerate(operands):
        if isinstance(operand, Tensor) and operand.level == level:
            variables.append(position)
            values.append(operand.value)
        else:
            values.append(operand if isinstance(operand, Tensor) else frozen.constant(operand, name))
    try:
        value, jacobians = rule(*values, **parameters)
    except (ValueError, IndexError) as error:
        given = " and ".join(str(np.shape(value)) for value in values)
        raise type(error)(f"{name}: {error}; operand shapes {given}") from None
    node = object.__new__(Tensor)
    node.value, node.operation, node.level = frozen.freeze(value), name, level
    node.parents = tuple([operands[position] for position in variables])
    node.jacobians = tuple([jacobians[position] for position in variables])
    return node


def stretch(name: str, operands: Sequence[Any]) -> list[Any]:
    """The operands in one common shape; a variable that has to be stretched for it gets a node `broadcast_to`."""
    shapes = [np.shape(operand) for operand in operands]
    if len(set(shapes)) == 1:
        return list(operands)
    try:
        common = np.broadcast_shapes(*shapes)
    except ValueError:
        given = " and ".join(map(str, shapes))
        raise ValueError(
            f"{name}: shapes {given} do not fit: counted from the right, axes must agree or be 1"
        ) from None
    return [
        np.broadcast_to(operand, common) if isinstance(operand, Tensor) and shape != common else operand
        for operand, shape in zip(operands, shapes, strict=True)
    ]


def matmul(x: Any, y: Any) -> Any:
    """x @ y, with NumPy's cases (vectors, stacks of matrices) brought back to stacks of matrices of equal height."""
    x_shape, y_shape = np.shape(x), np.shape(y)
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
        height = np.broadcast_shapes(x_shape[:-2], y_shape[:-2])
    except ValueError:
        raise ValueError(f"matmul: shapes {x_shape} and {y_shape} are stacks that do not broadcast") from None
    return record(linear.matmul, _stretch_to(x, height + x_shape[-2:]), _stretch_to(y, height + y_shape[-2:]))


def where(condition: Any, x: Any, y: Any) -> Any:
    if not isinstance(x, Tensor) and not isinstance(y, Tensor):
        return np.where(plain_value(condition), x, y)
    return record(linear.where, *stretch("where", (plain_value(condition), x, y)))


def concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Tensor:
    if axis is None:  # one after the other, each as a vector
        return concatenate([np.reshape(array, -1) for array in arrays])
    return record(linear.concatenate, *arrays, axis=axis)


def _recorded(rule: Callable[..., Result]) -> Callable[..., Tensor]:
    """The NumPy function of the same name and arguments, for a Tensor as first argument."""

    def function(x: Tensor, *arguments, **options) -> Tensor:
        return record(lambda value: rule(value, *arguments, **options), x, name=rule.__name__)

    return function


FUNCTIONS: dict[Callable, Callable] = {
    np.sum: _recorded(linear.sum),
    np.max: _recorded(linear.max),
    np.reshape: _recorded(linear.reshape),
    np.transpose: _recorded(linear.transpose),
    np.broadcast_to: _recorded(linear.broadcast_to),
    np.concatenate: concatenate,
    np.where: where,
    np.mean: functions.mean,
    np.var: functions.var,
    np.std: functions.std,
    np.min: functions.min,
    np.stack: functions.stack,
    np.expand_dims: functions.expand_dims,
    np.squeeze: functions.squeeze,
    np.swapaxes: functions.swapaxes,
    np.shape: lambda x: x.shape,
    np.ndim: lambda x: x.ndim,
    np.size: lambda x: x.size,
    np.argmax: lambda x, *arguments, **options: np.argmax(plain_value(x), *arguments, **options),
}

# A step function is flat wherever it has a derivative: the answer is a plain array.
WITHOUT_DERIVATIVE: frozenset[np.ufunc] = frozenset(
    (np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal, np.sign, np.isfinite, np.isnan)
)


def _no_rule(name: str) -> str:
    known = sorted(function.__name__ for function in (*elementwise.PARTIALS, np.matmul, *FUNCTIONS))
    return f"np.{name} has no derivative here; these have one: {', '.join(known)}"


def _stretch_to(x: Any, shape: tuple[int, ...]) -> Any:
    return x if np.shape(x) == shape else np.broadcast_to(x, shape)
