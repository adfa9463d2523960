"""Records activations and their gradients for one batch, in every model that calls `watch` (`llm_jax.models.watch`).

An activation is recorded when the model computes it. The gradient with respect to an activation equals the gradient
with respect to a zero that is added to it, so no model needs code for it. Layers that are scanned or rematerialised
cannot be watched, because their activations do not leave the loop.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from llm_jax.models.watch import Watch
from llm_jax.shapes import Array, Float


class Inside(NamedTuple):
    """Results of `look`, by the names that the model passes to `watch`."""

    loss: Float[Array, ""]
    activations: dict[str, Array]
    gradients: dict[str, Array]  # of the loss, with respect to each activation


def recorder() -> tuple[dict[str, Array], Watch]:
    """A dictionary, and a `watch` that writes every activation into it, in the order of the computation."""
    recorded: dict[str, Array] = {}

    def watch(name: str, activation: Array) -> Array:
        recorded[name] = activation
        return activation

    return recorded, watch


def look(loss_of: Callable[..., Float[Array, ""]], *arguments: Any) -> Inside:
    """Loss, activations and the loss's gradients with respect to them, for one batch.

    Args:
        loss_of: called as `loss_of(watch, *arguments)`; computes the loss with a model that it gives `watch`. Arrays
            that it takes from elsewhere become constants of the compiled program.
    """
    order: dict[str, None] = {}  # the names in the order of the computation, because jit sorts dictionaries

    def loss_with(offsets: dict[str, Array], *arguments: Any) -> tuple[Array, dict[str, Array]]:
        recorded, record = recorder()

        def watch(name: str, activation: Array) -> Array:
            order[name] = None
            record(name, activation)
            return activation + offsets[name] if name in offsets else activation

        return loss_of(watch, *arguments), recorded

    _, shapes = jax.eval_shape(loss_with, {}, *arguments)
    zeros = {name: jnp.zeros(shape.shape, shape.dtype) for name, shape in shapes.items()}
    (loss, activations), gradients = jax.jit(jax.value_and_grad(loss_with, has_aux=True))(zeros, *arguments)
    return Inside(loss, {name: activations[name] for name in order}, {name: gradients[name] for name in order})
