"""Reverse mode as a transformation of functions: `value_and_grad(f)` and `grad(f)`.

`f` takes numbers, NumPy arrays or pytrees of them (dicts, lists, dataclasses registered with JAX) and returns one
number. It runs once on Tensors, which records the graph; one traversal in reverse order gives the derivative with
respect to every leaf. The arguments are those of `jax.value_and_grad`. The gradient consists of NumPy calls too, so it
can be differentiated again. While f runs, NumPy's warnings about ∞ and nan are off; JAX has none (see `quiet`).

Left out: JAX's `has_aux`, `holomorphic`, `allow_int` and `reduce_axes`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax.tree_util as pytree
import numpy as np

from llm_jax.autodiff.arrays.tensor import Tensor
from llm_jax.autodiff.graph import pull_back
from llm_jax.autodiff.quiet import quiet
from llm_jax.autodiff.tracing import as_seen_at, like, new_level, variables


def value_and_grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., tuple[Any, Any]]:
    """The function that returns f(…) and its gradient with respect to the arguments numbered `argnums`.

    The gradient has the structure, shapes and dtypes of those arguments; for several `argnums`, it is a tuple. Negative
    ones count from the last argument.

    Raises (when called):
        TypeError: a differentiated leaf is not floating point, f does not return a number, or an argument is missing.
        ValueError: f returns an array of more than one element, or `argnums` names an argument twice.

    >>> value_and_grad(lambda p: np.sum(p["w"] ** 2) + p["b"])({"w": np.array([1.0, 2.0]), "b": 0.5})
    (5.5, {'b': 1.0, 'w': array([2., 4.])})
    """
    is_single = isinstance(argnums, int | np.integer)
    named = (argnums,) if is_single else tuple(argnums)

    def evaluate(*arguments, **options):
        numbers = _positions(named, len(arguments))
        chosen = tuple(arguments[n] for n in numbers)
        level = new_level()
        tensors, substitutes = variables(chosen, level)
        recorded = list(arguments)
        for n, substitute in zip(numbers, substitutes, strict=True):
            recorded[n] = substitute
        with quiet():
            output = as_seen_at(level, f(*recorded, **options))
            _check_output(output, f)
            depends = isinstance(output, Tensor) and output.level == level
            derivatives = pull_back(output, output.one) if depends else {}
        leaves, structure = pytree.tree_flatten(chosen)
        gradients = [like(leaf, derivatives.get(t, 0.0)) for leaf, t in zip(leaves, tensors, strict=True)]
        value = output.value if depends else output
        gradient = pytree.tree_unflatten(structure, gradients)
        return (
            value if isinstance(value, Tensor) else float(value),
            gradient[0] if is_single else gradient,
        )

    return evaluate


def grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The gradient alone; see `value_and_grad`.

    >>> grad(grad(lambda x: x**3))(2.0)
    12.0
    """
    both = value_and_grad(f, argnums)

    def evaluate(*arguments, **options):
        return both(*arguments, **options)[1]

    return evaluate


def _positions(argnums: tuple[int, ...], count: int) -> list[int]:
    """The positions, from 0, that `argnums` means in a call with `count` arguments."""
    needed = max((n + 1 if n >= 0 else -n for n in argnums), default=0)
    if needed > count:
        named = argnums[0] if len(argnums) == 1 else argnums
        raise TypeError(f"argnums {named} needs at least {needed} arguments; got {count}")
    positions = [n % count for n in argnums]
    if len(set(positions)) < len(positions):
        raise ValueError(f"argnums {argnums} of {count} arguments names one of them twice: name each once")
    return positions


def _check_output(output: Any, f: Callable[..., Any]) -> None:
    name = getattr(f, "__name__", "the function")
    if not isinstance(output, Tensor | float | int | np.generic | np.ndarray):
        raise TypeError(f"{name} must return one number to have a gradient; it returned {type(output).__name__}")
    if np.shape(output) != ():
        made_by = f" made by {output.operation}" if isinstance(output, Tensor) and output.operation else ""
        raise ValueError(
            f"{name} must return one number to have a gradient; it returned shape {np.shape(output)}{made_by}: "
            "reduce it first, for example with np.sum or np.mean"
        )
