"""A look inside a network, at one batch: activations, the gradients that reach them, dead units.

The gradient with respect to an activation is the gradient with respect to a nudge of zero added to it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from train.first_principles.makemore.examples import Examples
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
    def loss(nudges: dict[str, Any]):
        seen: dict[str, Any] = {}

        def watch(name: str, activation):
            seen[name] = activation
            return activation + nudges[name] if name in nudges else activation

        return batch_loss(model, params, batch, watch), seen

    _, shapes = jax.eval_shape(loss, {})
    zeros = {name: jnp.zeros(shape.shape, shape.dtype) for name, shape in shapes.items()}
    (value, seen), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(zeros)
    real = batch.weights > 0  # padded positions of sequences say nothing
    return Inside(
        float(value),
        {
            name: np.asarray(a)[real] if a.shape[: real.ndim] == real.shape else np.asarray(a)
            for name, a in seen.items()
        },
        {
            name: np.asarray(g)[real] if g.shape[: real.ndim] == real.shape else np.asarray(g)
            for name, g in gradients.items()
        },
    )


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
