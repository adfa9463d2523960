"""Functions of neural networks, written in NumPy with operations that have rules.

Only `relu` has a rule of its own. For the others, NumPy passes each call to `Tensor`, and the chain rule gives the
derivative. The same functions work on plain arrays. (`by_hand` derives fused gradients of the same layers on paper.)
"""

import math

import numpy as np

from llm_jax.autodiff.arrays.tensor import Tensor, record
from llm_jax.autodiff.quiet import quiet
from llm_jax.autodiff.rules import elementwise
from llm_jax.autodiff.rules.jacobian import Array
from llm_jax.autodiff.rules.linear import Axis


def relu(x: Array) -> Array:
    """max(0, x); the derivative at 0 is taken as 0, as in JAX and PyTorch.

    A nan stays nan in value and derivative; `np.where(x > 0, x, 0.0)` would turn it into 0. relu has a rule of its own
    because the derivative of np.maximum at 0 is ½.
    """
    if isinstance(x, Tensor):
        return record(elementwise.apply, x, name="relu", function=relu, partials=RELU_PARTIALS)
    return np.maximum(x, 0.0)


RELU_PARTIALS = (lambda x, y: np.maximum(np.sign(x), 0.0),)  # 0 for x ≤ 0, 1 for x > 0, nan for nan


def gelu(x: Array) -> Array:
    """x·Φ(x), in GPT-2's approximation by tanh (Hendrycks & Gimpel 2016, §2)."""
    with quiet():
        return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))


def logsumexp(x: Array, axis: Axis = -1, keepdims: bool = False) -> Array:
    """log Σ exp x. The largest element is subtracted first, so that exp is at most 1 and cannot overflow."""
    with quiet():
        largest = np.max(x, axis=axis, keepdims=True)
        largest = np.where(np.isfinite(largest), largest, 0.0)  # because ∞ − ∞ is nan
        result = np.log(np.sum(np.exp(x - largest), axis=axis, keepdims=True)) + largest  # log 0 = −∞ if all are −∞
        return result if keepdims else np.squeeze(result, axis)


def log_softmax(x: Array, axis: int = -1) -> Array:
    """log softmax(x), computed without the logarithm of an exponential. Like softmax, it is nan if one x is +∞."""
    with quiet():
        below_largest = x - np.max(x, axis=axis, keepdims=True)
        return below_largest - np.log(np.sum(np.exp(below_largest), axis=axis, keepdims=True))


def softmax(x: Array, axis: int = -1) -> Array:
    """exp xᵢ / Σⱼ exp xⱼ."""
    with quiet():
        powers = np.exp(x - np.max(x, axis=axis, keepdims=True))
        return powers / np.sum(powers, axis=axis, keepdims=True)


def layer_norm(x: Array, gain: Array, bias: Array, epsilon: float = 1e-5) -> Array:
    """(x − mean)/√(variance + ε)·gain + bias over the last axis (Ba, Kiros & Hinton 2016)."""
    with quiet():
        centred = x - np.mean(x, axis=-1, keepdims=True)
        return centred / np.sqrt(np.mean(centred * centred, axis=-1, keepdims=True) + epsilon) * gain + bias
