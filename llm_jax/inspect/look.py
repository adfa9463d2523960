"""One batch through a model, seen from inside, for every model that calls `watch` (`llm_jax.models.watch`).

Activations are written down as the model computes them. The gradient with respect to an activation is the gradient with
respect to a nudge of zero added to it, so no model has to know that it is differentiated there. Layers that are scanned
or rematerialised cannot be watched: their activations do not leave the loop.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from llm_jax.models.watch import Watch
from llm_jax.shapes import Array, Float


class Inside(NamedTuple):
    """What `look` saw, by the names under which the model's layers are watched."""

    loss: Float[Array, ""]
    activations: dict[str, Array]
    gradients: dict[str, Array]  # of the loss, with respect to each activation


def recorder() -> tuple[dict[str, Array], Watch]:
    """A dictionary, and a `watch` that writes every activation into it, in the order of the computation."""
    seen: dict[str, Array] = {}

    def watch(name: str, activation: Array) -> Array:
        seen[name] = activation
        return activation

    return seen, watch


def look(loss_of: Callable[..., Float[Array, ""]], *arguments: Any) -> Inside:
    """Loss, activations and their gradients of one batch.

    `loss_of(watch, *arguments)` computes the loss with a watched model. Arrays that it takes from elsewhere become
    constants of the compiled program.
    """

    order: dict[str, None] = {}  # jit sorts the names

    def nudged(nudges: dict[str, Array], *arguments: Any) -> tuple[Array, dict[str, Array]]:
        seen, record = recorder()

        def watch(name: str, activation: Array) -> Array:
            order[name] = None
            record(name, activation)
            return activation + nudges[name] if name in nudges else activation

        return loss_of(watch, *arguments), seen

    _, shapes = jax.eval_shape(nudged, {}, *arguments)
    zeros = {name: jnp.zeros(shape.shape, shape.dtype) for name, shape in shapes.items()}
    (loss, activations), gradients = jax.jit(jax.value_and_grad(nudged, has_aux=True))(zeros, *arguments)
    return Inside(loss, {name: activations[name] for name in order}, {name: gradients[name] for name in order})
