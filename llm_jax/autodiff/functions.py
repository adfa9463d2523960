"""What neural networks use, written in NumPy from operations that have rules.

Nothing here needs a derivative of its own: NumPy hands each call to `Tensor`, and the chain rule does the rest. The
same functions work on plain arrays. (`by_hand` derives fused gradients for the same layers, with pen and paper.)
"""

import math

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from llm_jax.autodiff.jacobian import Array
from llm_jax.autodiff.linear import Axis, reduced_axes


def mean(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    return np.sum(x, axis=axis, keepdims=keepdims) * _reciprocal(_summands(x, axis))


def var(x: Array, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Array:
    """Σ(x − mean)² / (n − ddof)."""
    squares = np.sum(np.square(x - np.mean(x, axis=axis, keepdims=True)), axis=axis, keepdims=keepdims)
    return squares * _reciprocal(_summands(x, axis) - ddof)


def std(x: Array, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Array:
    return np.sqrt(var(x, axis, ddof, keepdims))


def min(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    return -np.max(-x, axis=axis, keepdims=keepdims)


def stack(arrays: list[Array], axis: int = 0) -> Array:
    return np.concatenate([np.expand_dims(array, axis) for array in arrays], axis=axis)


def expand_dims(x: Array, axis: int | tuple[int, ...]) -> Array:
    ndim = np.ndim(x) + (len(axis) if isinstance(axis, tuple) else 1)
    new, old = normalize_axis_tuple(axis, ndim, "expand_dims"), iter(np.shape(x))
    return np.reshape(x, tuple(1 if i in new else next(old) for i in range(ndim)))


def squeeze(x: Array, axis: Axis = None) -> Array:
    """Without the axes named, or, for None, without all that are 1 long."""
    shape = np.shape(x)
    ones = tuple(i for i, n in enumerate(shape) if n == 1)
    gone = ones if axis is None else normalize_axis_tuple(axis, len(shape), "squeeze")
    if not set(gone) <= set(ones):
        raise ValueError(f"squeeze: axis {axis} of shape {shape} is not 1 long")
    return np.reshape(x, tuple(n for i, n in enumerate(shape) if i not in gone))


def swapaxes(x: Array, first: int, second: int) -> Array:
    axes = list(range(np.ndim(x)))
    first, second = normalize_axis_tuple((first, second), len(axes), "swapaxes", allow_duplicate=True)
    axes[first], axes[second] = axes[second], axes[first]
    return np.transpose(x, axes)


def relu(x: Array) -> Array:
    """max(0, x); the derivative at 0 is taken as 0, as in JAX and PyTorch."""
    return np.where(x > 0, x, 0.0)


def gelu(x: Array) -> Array:
    """x·Φ(x), in GPT-2's approximation by tanh (Hendrycks & Gimpel 2016, §2)."""
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))


def logsumexp(x: Array, axis: Axis = -1, keepdims: bool = False) -> Array:
    """log Σ exp x. The largest element is taken out first, so that exp cannot overflow; what is left is at most 1."""
    largest = np.max(x, axis=axis, keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0.0)  # ∞ − ∞ is not a number
    with np.errstate(divide="ignore"):  # where all are −∞, log 0 = −∞ is the answer
        result = np.log(np.sum(np.exp(x - largest), axis=axis, keepdims=True)) + largest
    return result if keepdims else np.squeeze(result, axis)


def log_softmax(x: Array, axis: int = -1) -> Array:
    return x - logsumexp(x, axis, keepdims=True)


def softmax(x: Array, axis: int = -1) -> Array:
    """exp xᵢ / Σⱼ exp xⱼ."""
    powers = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return powers / np.sum(powers, axis=axis, keepdims=True)


def layer_norm(x: Array, gain: Array, bias: Array, epsilon: float = 1e-5) -> Array:
    """(x − mean)/√(variance + ε)·gain + bias over the last axis (Ba, Kiros & Hinton 2016)."""
    centred = x - np.mean(x, axis=-1, keepdims=True)
    return centred / np.sqrt(np.mean(centred * centred, axis=-1, keepdims=True) + epsilon) * gain + bias


def _summands(x: Array, axis: Axis) -> int:
    """How many elements fall into one of a reduction over `axis`."""
    shape = np.shape(x)
    return math.prod(shape[i] for i in reduced_axes(axis, len(shape)))


def _reciprocal(count: float) -> float:
    """1/count. Of nothing it is ∞, so that a mean of no elements becomes 0·∞, not a number, as in NumPy."""
    return 1 / count if count > 0 else math.inf
