"""Derivatives by finite differences. The tests check all other derivatives of this package against them.

Central differences, (f(x + h) − f(x − h)) / 2h, have an error of about h²·f‴/6 from truncation and about 10⁻¹⁶·f/h from
rounding; with h = 10⁻⁵ in float64 both are near 10⁻¹⁰. They take two evaluations of f per number, which is far too slow
for training: a network of 10⁸ parameters would need 2·10⁸ evaluations for a single step.
"""

from collections.abc import Callable
from typing import Any

import jax.tree_util as pytree
import numpy as np


def numerical_grad(f: Callable[[Any], Any], x: Any, step: float = 1e-5) -> Any:
    """The gradient of f at x, in float64 and with the structure of x.

    Args:
        f: takes x in float64 and returns one number.
        x: any pytree of numbers and arrays.
        step: h above, in units of x.

    >>> round(numerical_grad(lambda x: x**3, 2.0), 6)
    12.0
    """
    leaves, structure = pytree.tree_flatten(x)
    points = [np.array(leaf, dtype=np.float64) for leaf in leaves]

    def is_array(leaf: Any) -> bool:
        return isinstance(leaf, np.ndarray) or np.ndim(leaf) > 0

    def evaluate() -> float:
        arguments = [p.copy() if is_array(leaf) else float(p) for p, leaf in zip(points, leaves, strict=True)]
        return float(f(pytree.tree_unflatten(structure, arguments)))

    gradients = [np.zeros_like(point) for point in points]
    for point, gradient in zip(points, gradients, strict=True):
        for i in np.ndindex(point.shape):
            centre = point[i]
            point[i] = centre + step
            above = evaluate()
            point[i] = centre - step
            below = evaluate()
            point[i] = centre
            gradient[i] = (above - below) / (2 * step)
    return pytree.tree_unflatten(
        structure, [g if is_array(leaf) else float(g) for g, leaf in zip(gradients, leaves, strict=True)]
    )
