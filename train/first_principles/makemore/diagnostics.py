"""A look inside a network, at one batch: activations, the gradients that reach them, dead units.

The gradient with respect to an activation is the gradient with respect to a nudge of zero added to it.
"""

from typing import Any, NamedTuple

import numpy as np

from llm_jax import inspect
from train.first_principles.makemore.dataset.examples import Examples
from train.first_principles.makemore.models import Model
from train.first_principles.makemore.training import batch_loss

SATURATED = 0.99  # |tanh|: its derivative 1 − tanh² is then below 0.02
SQUASHING = ("tanh", "state")  # layers whose values lie between −1 and 1


class Inside(NamedTuple):
    """One batch through a network, by the names its layers are watched under."""

    loss: float
    activations: dict[str, np.ndarray]  # (…, D)
    gradients: dict[str, np.ndarray]  # of the mean loss over the batch, with respect to the activations


def look(model: Model, params: Any, batch: Examples) -> Inside:
    """One batch through `model`, by the names its layers are watched under."""
    seen = inspect.look(lambda watch: batch_loss(model, params, batch, watch))
    real = batch.weights > 0  # padded positions of sequences say nothing

    def of_examples(arrays: dict[str, Any]) -> dict[str, np.ndarray]:
        return {
            name: np.asarray(x)[real] if x.shape[: real.ndim] == real.shape else np.asarray(x)
            for name, x in arrays.items()
        }

    return Inside(float(seen.loss), of_examples(seen.activations), of_examples(seen.gradients))


def squashed(inside: Inside) -> dict[str, np.ndarray]:
    """Activations that lie between −1 and 1, so that they can be saturated."""
    return {name: a for name, a in inside.activations.items() if name.startswith(SQUASHING)}


def saturation(activation: np.ndarray) -> float:
    """The share of values so near −1 or 1 that hardly any gradient passes."""
    return float((np.abs(activation) > SATURATED).mean())


def dead_units(activation: np.ndarray) -> int:
    """Units that are saturated for every example: they learn nothing from any of them."""
    is_saturated = np.abs(activation).reshape(-1, activation.shape[-1]) > SATURATED
    return int(is_saturated.all(axis=0).sum())
