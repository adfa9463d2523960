"""Forward mode, and both modes together: `jvp` and `hvp`.

`jvp` pushes one direction through the graph, from the inputs to the outputs. It costs about one evaluation, whatever
the number of outputs; reverse mode costs about one evaluation, whatever the number of inputs. A Hessian times a vector
is the derivative of the gradient along that vector, so `hvp` is forward mode applied to reverse mode. The n × n Hessian
is never built (Pearlmutter 1994).

Left out: forward mode without a graph (dual numbers), which needs less memory.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax.tree_util as pytree
import numpy as np

from llm_jax.autodiff.arrays.tensor import Tensor
from llm_jax.autodiff.graph import push_forward
from llm_jax.autodiff.quiet import quiet
from llm_jax.autodiff.reverse import grad
from llm_jax.autodiff.tracing import as_seen_at, like, new_level, variables


def jvp(f: Callable[..., Any], arguments: Sequence[Any], direction: Sequence[Any]) -> tuple[Any, Any]:
    """f(arguments) and its derivative along `direction`, J·v; both have the structure of what f returns.

    Raises:
        ValueError: `direction` differs from `arguments` in structure or in a shape.

    >>> jvp(lambda x, y: x * y, (2.0, 3.0), (1.0, 0.0))
    (6.0, 3.0)
    """
    arguments, direction = tuple(arguments), tuple(direction)
    level = new_level()
    tensors, substitutes = variables(arguments, level)
    tangents = dict(zip(tensors, _matching_leaves(direction, arguments, tensors), strict=True))
    with quiet():
        outputs, structure = pytree.tree_flatten(f(*substitutes))
        outputs = [as_seen_at(level, output) for output in outputs]
        depends = [isinstance(o, Tensor) and o.level == level for o in outputs]
        derivatives = push_forward([o for o, d in zip(outputs, depends, strict=True) if d], tangents)
    values = [o.value if d else o for o, d in zip(outputs, depends, strict=True)]
    changes = [derivatives.get(o, 0.0) if d else 0.0 for o, d in zip(outputs, depends, strict=True)]
    return (
        pytree.tree_unflatten(structure, [like(v, v) for v in values]),
        pytree.tree_unflatten(structure, [like(v, c) for v, c in zip(values, changes, strict=True)]),
    )


def hvp(f: Callable[[Any], Any], x: Any, v: Any) -> Any:
    """The Hessian of f at x, times v: H·v, with the structure of x. f returns one number.

    >>> hvp(lambda x: np.sum(x**3), np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    array([ 6., 12.])
    """
    return pytree.tree_map(like, x, jvp(grad(f), (x,), (v,))[1])


def _matching_leaves(direction: Any, arguments: Any, tensors: list[Tensor]) -> list[Any]:
    """The leaves of `direction`, each in the dtype of its argument."""
    structure, found = pytree.tree_structure(arguments), pytree.tree_structure(direction)
    if found != structure:
        raise ValueError(f"jvp: the direction has structure {found}; the arguments have {structure}")
    leaves = pytree.tree_leaves(direction)
    for tensor, d in zip(tensors, leaves, strict=True):
        if tensor.shape != np.shape(d):
            raise ValueError(f"jvp: direction of shape {np.shape(d)} for an argument of shape {tensor.shape}")
        if not isinstance(d, Tensor) and np.asarray(d).dtype.kind not in "fiu":
            raise TypeError(f"jvp: a direction holds real numbers; got {np.asarray(d).dtype} of shape {np.shape(d)}")
    return [like(tensor, d) for tensor, d in zip(tensors, leaves, strict=True)]
