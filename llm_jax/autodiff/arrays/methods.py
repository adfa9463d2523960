"""The methods of a NumPy array. Each is the NumPy function of the same name, with the array as first argument."""

from typing import Any

import numpy as np


class Methods:
    """A mixin for a class whose instances NumPy's functions accept."""

    __slots__ = ()

    def sum(self: Any, *arguments, **options) -> Any:
        return np.sum(self, *arguments, **options)

    def prod(self: Any, *arguments, **options) -> Any:
        return np.prod(self, *arguments, **options)

    def cumsum(self: Any, *arguments, **options) -> Any:
        return np.cumsum(self, *arguments, **options)

    def mean(self: Any, *arguments, **options) -> Any:
        return np.mean(self, *arguments, **options)

    def var(self: Any, *arguments, **options) -> Any:
        return np.var(self, *arguments, **options)

    def std(self: Any, *arguments, **options) -> Any:
        return np.std(self, *arguments, **options)

    def max(self: Any, *arguments, **options) -> Any:
        return np.max(self, *arguments, **options)

    def min(self: Any, *arguments, **options) -> Any:
        return np.min(self, *arguments, **options)

    def argmax(self: Any, *arguments, **options) -> Any:
        return np.argmax(self, *arguments, **options)

    def argmin(self: Any, *arguments, **options) -> Any:
        return np.argmin(self, *arguments, **options)

    def clip(self: Any, min=None, max=None, out=None) -> Any:
        return np.clip(self, min, max, out)

    def dot(self: Any, b, out=None) -> Any:
        return np.dot(self, b, out)

    def reshape(self: Any, *shape, order: Any = "C", copy=None) -> Any:
        return np.reshape(self, _one_or_several(shape), order=order, copy=copy)

    def ravel(self: Any, order: Any = "C") -> Any:
        return np.ravel(self, order)

    def flatten(self: Any, order: Any = "C") -> Any:
        return np.ravel(self, order)

    def squeeze(self: Any, axis=None) -> Any:
        return np.squeeze(self, axis)

    def swapaxes(self: Any, axis1, axis2) -> Any:
        return np.swapaxes(self, axis1, axis2)

    def transpose(self: Any, *axes) -> Any:
        return np.transpose(self, _one_or_several(axes) if axes else None)

    @property
    def T(self: Any) -> Any:
        return np.transpose(self)


def _one_or_several(arguments: tuple) -> Any:
    """`t.reshape(2, 3)` and `t.reshape((2, 3))` mean the same."""
    return arguments[0] if len(arguments) == 1 else arguments
