"""Reverse mode as a function of functions: `value_and_grad(f)` and `grad(f)`.

`f` takes numbers, NumPy arrays or pytrees of them (dicts, lists, dataclasses that JAX knows) and returns one number. It
is run once on Tensors, which records the graph; one walk back gives the derivative with respect to every leaf. The
signature is `jax.value_and_grad`'s. Since the gradient is made of NumPy calls too, it can be differentiated again.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax.tree_util as pytree
import numpy as np

from llm_jax.autodiff.graph import pull_back
from llm_jax.autodiff.tensor import Tensor
from llm_jax.autodiff.tracing import like, new_level, variables


def value_and_grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., tuple[Any, Any]]:
    """The function that returns f(…) and its gradient with respect to the arguments numbered `argnums`.

    The gradient has the structure, shapes and dtypes of those arguments; for several `argnums`, it is a tuple.

    Raises (when called):
        TypeError: a differentiated leaf is not floating point, or f does not return a number.
        ValueError: f returns an array of more than one element.

    >>> value_and_grad(lambda p: np.sum(p["w"] ** 2) + p["b"])({"w": np.array([1.0, 2.0]), "b": 0.5})
    (5.5, {'b': 1.0, 'w': array([2., 4.])})
    """
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def evaluate(*arguments, **options):
        if max(numbers, default=0) >= len(arguments):
            raise TypeError(f"argnums {argnums} needs at least {max(numbers) + 1} arguments; got {len(arguments)}")
        chosen = tuple(arguments[n] for n in numbers)
        with new_level() as level:
            tensors, substitutes = variables(chosen, level)
            recorded = list(arguments)
            for n, substitute in zip(numbers, substitutes, strict=True):
                recorded[n] = substitute
            output = f(*recorded, **options)
            _check_output(output, f)
            depends = isinstance(output, Tensor) and output.level == level
            found = pull_back(output, output.one) if depends else {}
        leaves, structure = pytree.tree_flatten(chosen)
        gradients = [like(leaf, found.get(t, 0.0)) for leaf, t in zip(leaves, tensors, strict=True)]
        value = output.value if depends else output
        gradient = pytree.tree_unflatten(structure, gradients)
        return (
            value if isinstance(value, Tensor) else float(value),
            gradient[0] if isinstance(argnums, int) else gradient,
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
