"""The array engine: reverse mode where every node is an array, for functions written in NumPy.

NumPy functions accept a `Tensor`: NumPy passes `np.exp(t)`, `x @ t` or `np.concatenate([t, u])` to this class by its
own protocols (NEP 13 and NEP 18). A rule in `elementwise`, `linear`, `reductions` or `einsum` computes the operation,
and a new node records it. After autograd (Maclaurin, Duvenaud & Adams 2015).

An operation that would take a value out of the graph, or change it after it was recorded (see `frozen`), raises an
error that says why.

Derivatives of derivatives: each `grad` or `jvp` in progress is one level. An operation belongs to the highest level
among its operands. Operands of lower levels are constants to it; they may be variables of an outer derivative.

Left out: complex numbers, integers, and the NumPy functions not in `elementwise` and `registry`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from llm_jax.autodiff.arrays import frozen
from llm_jax.autodiff.arrays.methods import Methods
from llm_jax.autodiff.arrays.registry import FUNCTIONS
from llm_jax.autodiff.graph import Node
from llm_jax.autodiff.quiet import quiet
from llm_jax.autodiff.rules import elementwise, linear
from llm_jax.autodiff.rules.jacobian import Result


class Tensor(Methods, NDArrayOperatorsMixin, Node):
    """An array that records its history. Built by hand, as in `Tensor([1.0, 2.0])`, it is an input of the graph.

    Operators are NumPy's: the mixin turns `a + b` into `np.add(a, b)`, which arrives in `__array_ufunc__`.

    Args:
        value: floating-point array or number. It is copied.
        level: the `grad` or `jvp` whose variable it is; one that began later has a higher level. 0 if built by hand.

    Raises:
        TypeError: `value` does not hold floating-point numbers.
    """

    __slots__ = ("level",)

    def __init__(self, value: Any, level: int = 0):
        if isinstance(value, Tensor) and not level:
            raise TypeError("Tensor: this is a Tensor already; for a derivative of a derivative use grad in grad")
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

    @property
    def belongs_to_a_derivative(self) -> bool:
        return self.level > 0

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *operands, **options):
        name = ufunc.__name__
        if method != "__call__" or options:
            _refuse_options(name, method, options)
        if ufunc in elementwise.PARTIALS:
            return record(elementwise.apply, *stretch(name, operands), name=name, function=ufunc)
        if ufunc in WITHOUT_DERIVATIVE:
            return ufunc(*map(plain_value, operands))
        if ufunc in FUNCTIONS:
            return FUNCTIONS[ufunc](*operands)
        raise TypeError(_no_rule(name))

    def __array_function__(self, function, types, arguments, options):
        if function not in FUNCTIONS:
            raise TypeError(_no_rule(function.__name__))
        return FUNCTIONS[function](*arguments, **options)

    # `t += 1` binds the name t to a new node; the old node is not changed.
    __iadd__ = NDArrayOperatorsMixin.__add__
    __isub__ = NDArrayOperatorsMixin.__sub__
    __imul__ = NDArrayOperatorsMixin.__mul__
    __itruediv__ = NDArrayOperatorsMixin.__truediv__
    __ipow__ = NDArrayOperatorsMixin.__pow__
    __imatmul__ = NDArrayOperatorsMixin.__matmul__

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
        """Zeros of `shape`, with this tensor added at `index`."""
        return record(linear.scatter, self, index=index, shape=shape)

    def astype(self, dtype, order="K", casting: Any = "unsafe", subok=True, copy=True) -> Any:
        """The tensor in another precision; a plain array for integers and booleans, which have no derivative."""
        if not np.can_cast(self.dtype, dtype, casting):
            raise TypeError(f"astype: {self.dtype} cannot be cast to {np.dtype(dtype)} by the rule {casting!r}")
        if np.issubdtype(dtype, np.floating):
            return record(linear.astype, self, dtype=np.dtype(dtype))
        if np.issubdtype(dtype, np.complexfloating):
            raise TypeError(f"astype: a Tensor is real; it cannot become {np.dtype(dtype)}")
        with quiet():
            return plain_value(self).astype(dtype)

    def __setitem__(self, index, value):
        raise TypeError("a recorded array cannot be changed in place: build a new one, for example with np.where")

    def __array__(self, *_, **__):
        raise TypeError(
            "a Tensor cannot become part of a plain array, because its history would be lost: "
            "use np.stack or np.concatenate, or .value where the history is not needed"
        )

    def __float__(self):
        raise TypeError("float(tensor) would drop its history: use np.exp instead of math.exp, or .value")

    def __bool__(self) -> bool:
        return bool(plain_value(self))

    def __repr__(self) -> str:
        return f"Tensor({plain_value(self)!r}{', ' + self.operation if self.operation else ''})"


def plain_value(x: Any) -> Any:
    """The array or number inside a Tensor, through all levels; any other value unchanged."""
    while isinstance(x, Tensor):
        x = x.value
    return x


def record(rule: Callable[..., Result], *operands: Any, name: str = "", **parameters) -> Tensor:
    """Applies `rule` to the operands' values and returns the new node. `parameters` are passed to the rule."""
    name = name or rule.__name__
    level = max([operand.level for operand in operands if isinstance(operand, Tensor)])
    values, variables = [], []
    for position, operand in enumerate(operands):
        if isinstance(operand, Tensor) and operand.level == level:
            variables.append(position)
            values.append(operand.value)
        else:
            values.append(operand if isinstance(operand, Tensor) else frozen.constant(operand, name))
    try:  # `grad` and `jvp` turn warnings off once, because doing so for each operation is slow
        if level:
            value, jacobians = rule(*values, **parameters)
        else:
            with quiet():
                value, jacobians = rule(*values, **parameters)
    except (ValueError, IndexError, TypeError) as error:
        if str(error).startswith(f"{name}: "):
            raise
        given = " and ".join(str(np.shape(value)) for value in values)
        kind = TypeError if isinstance(error, TypeError) else type(error)
        raise kind(f"{name}: {error}; operand shapes {given}") from None
    node = object.__new__(Tensor)
    node.value, node.operation, node.level = frozen.freeze(value), name, level
    node.parents = tuple([operands[position] for position in variables])
    node.jacobians = tuple([jacobians[position] for position in variables])
    return node


def stretch(name: str, operands: Sequence[Any]) -> Sequence[Any]:
    """The operands in one common shape. A Tensor that has to be broadcast for it gets a node `broadcast_to`."""
    shapes = [np.shape(operand) for operand in operands]
    if len(set(shapes)) == 1:
        return operands
    try:
        common = np.broadcast_shapes(*shapes)
    except ValueError:
        given = " and ".join(map(str, shapes))
        raise ValueError(
            f"{name}: shapes {given} do not fit: counted from the right, axes must have equal lengths or length 1"
        ) from None
    return [
        np.broadcast_to(operand, common) if isinstance(operand, Tensor) and shape != common else operand
        for operand, shape in zip(operands, shapes, strict=True)
    ]


# Step functions have the derivative 0 wherever they have one, so the result is a plain array.
WITHOUT_DERIVATIVE: frozenset[np.ufunc] = frozenset(
    (
        *(np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal),
        *(np.sign, np.heaviside, np.isfinite, np.isnan, np.isinf),
    )
)


def _refuse_options(name: str, method: str, options: dict[str, Any]) -> None:
    if method != "__call__" or "out" in options:
        form = f".{method}" if method != "__call__" else " into an array"
        raise TypeError(f"np.{name}{form}: a recorded array cannot be changed in place")
    for option, value in options.items():
        if value is not None:
            raise TypeError(f"np.{name}: the option {option} is not supported for a Tensor")


def _no_rule(name: str) -> str:
    known = sorted({function.__name__ for function in (*elementwise.PARTIALS, *FUNCTIONS)})
    return f"np.{name} has no derivative here; these have one: {', '.join(known)}"
