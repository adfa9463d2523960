"""Two moons: micrograd's demonstration (Karpathy 2020), for both engines of `llm_jax.autodiff`.

A network 2 → 16 → 16 → 1 with relu and 337 parameters learns to separate two interleaved half circles; its loss is
mean(max(0, 1 − yᵢ·sᵢ)) + 10⁻⁴·Σp², for labels y = ±1 and scores s. Points and initial weights are drawn in the
order of the original notebook, so that its printed losses (0.8958 at first, 0.01098 after 100 steps) are met to the
last digits.
"""

import random
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from llm_jax.autodiff import Scalar, relu, weighted_sum

SIZES = (2, 16, 16, 1)
WEIGHT_DECAY = 1e-4
STEPS = 100

Weights = list[list[list[float]]]  # [layer][neuron][its input weights, then its bias]


def two_moons(count: int = 100, noise: float = 0.1, seed: int = 1337) -> tuple[np.ndarray, np.ndarray]:
    """Points (count, 2) and labels ±1 (count,), drawn in the order of scikit-learn's `make_moons`."""
    rng = np.random.RandomState(seed)
    angle = np.linspace(0, np.pi, count // 2)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = np.concatenate([upper, np.array([1.0, 0.5]) - upper])
    labels = np.repeat([-1.0, 1.0], count // 2)
    order = np.arange(count)
    rng.shuffle(order)
    return points[order] + rng.normal(scale=noise, size=points.shape), labels[order]


def initial_weights(sizes: Sequence[int] = SIZES, seed: int = 1337) -> Weights:
    """Input weights uniform in (−1, 1) and biases 0."""
    rng = random.Random(seed)
    return [
        [[*(rng.uniform(-1, 1) for _ in range(inputs)), 0.0] for _ in range(neurons)]
        for inputs, neurons in pairwise(sizes)
    ]


def learning_rate(step: int) -> float:
    return 1.0 - 0.9 * step / STEPS


def one_node_each(weights: Sequence[Scalar], values: Sequence, start: Scalar) -> Scalar:
    """`weighted_sum` as micrograd records it: a node for every product and every sum."""
    for w, value in zip(weights, values, strict=True):
        start = start + w * value
    return start


class ScalarNetwork:
    """Every parameter a `Scalar`; `sum_up` is `one_node_each` or `weighted_sum`."""

    def __init__(self, weights: Weights, sum_up: Callable[..., Scalar] = weighted_sum):
        self.layers = [[[Scalar(w) for w in neuron] for neuron in layer] for layer in weights]
        self.sum_up = sum_up

    def parameters(self) -> list[Scalar]:
        return [w for layer in self.layers for neuron in layer for w in neuron]

    def score(self, point: Sequence[float]):
        values: Sequence = point
        for layer in self.layers:
            sums = [self.sum_up(weights, values, bias) for *weights, bias in layer]
            values = sums if layer is self.layers[-1] else [s.relu() for s in sums]
        return values[0]

    def loss(self, points: np.ndarray, labels: np.ndarray) -> Scalar:
        hinges = [
            (1.0 - label * self.score(point)).relu()
            for point, label in zip(points.tolist(), labels.tolist(), strict=True)
        ]
        squares = [w * w for w in self.parameters()]
        zero = Scalar(0.0)
        return sum(hinges, zero) * (1.0 / len(hinges)) + WEIGHT_DECAY * sum(squares, zero)

    def descend(self, gradients: dict, rate: float) -> None:
        """New Scalars with the updated values: nodes do not change."""
        self.layers = [
            [[Scalar(w.value - rate * gradients[w]) for w in neuron] for neuron in layer] for layer in self.layers
        ]


Arrays = list[tuple[np.ndarray, np.ndarray]]  # [layer] of weights (inputs, neurons) and biases (neurons,)


def as_arrays(weights: Weights) -> Arrays:
    layers = [np.array(layer).T for layer in weights]
    return [(layer[:-1], layer[-1]) for layer in layers]


def descend(parameters: Arrays, gradients: Arrays, rate: float) -> Arrays:
    return [(w - rate * dw, b - rate * db) for (w, b), (dw, db) in zip(parameters, gradients, strict=True)]


def array_loss(parameters: Arrays, points: np.ndarray, labels: np.ndarray):
    """The same loss, all points at once: for `value_and_grad`."""
    hinges = relu(1.0 - labels * array_scores(parameters, points))
    return np.mean(hinges) + WEIGHT_DECAY * sum(np.sum(w * w) + np.sum(b * b) for w, b in parameters)


def array_scores(parameters: Arrays, points: np.ndarray):
    values = points
    for layer, (w, b) in enumerate(parameters):
        values = values @ w + b
        if layer < len(parameters) - 1:
            values = relu(values)
    return values[:, 0]
