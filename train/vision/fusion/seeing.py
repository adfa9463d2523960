"""A tower that names what it sees: for each place one word, from all patches of its last layer."""

from typing import Any

import jax
import jax.numpy as jnp

from llm_jax.layers.linear import Linear, init_linear, linear
from llm_jax.models.vision_language.config import VisionConfig
from llm_jax.models.vision_language.parameters import Tower, init_tower
from llm_jax.models.vision_language.tower import normalised, tower
from llm_jax.shapes import Array, Float, Key, pytree
from train.vision import flops
from train.vision.data.world import Sample
from train.vision.fusion.base import Task
from train.vision.training import Stage


@pytree
class Namer:
    tower: Tower
    head: Linear  # every patch's vector, side by side → a score for every word of every place


class Seeing:
    """The namer of a task, its training and its words."""

    def __init__(self, task: Task):
        self.task = task
        self.config: VisionConfig = task.config.tower(task.world.image_size)
        self._sizes = jnp.array([len(place) for place in task.world.places])
        self._shape = task.words.words_KW.shape
        inputs = self.config.n_patches * self.config.d_model
        head = flops.linear(1, inputs, self._shape[0] * self._shape[1])
        cost = flops.TRAINED * (flops.tower(self.config, self.config.n_layers) + head)
        self.stage = Stage("tower names what it sees", self._loss, cost, task.config.rate)

    def init(self, key: Key[Array, ""]) -> Namer:
        of_tower, of_head = jax.random.split(key)
        inputs = self.config.n_patches * self.config.d_model
        return Namer(init_tower(of_tower, self.config), init_linear(of_head, (inputs,), self._shape, inputs**-0.5))

    def scores(self, params: Namer, pixels_BYXC: Array) -> Float[Array, "B K W"]:
        """One score for each word of each place; −∞ where a place has fewer words."""
        x_BSD = tower(params.tower, normalised(pixels_BYXC, self.config), self.config, self.task.plan)
        scores_BKW = linear(params.head, x_BSD[:, 1:].reshape(len(x_BSD), -1))
        return jnp.where(jnp.arange(self._shape[1]) < self._sizes[:, None], scores_BKW, -jnp.inf)

    def names(self, params: Namer, pixels_BYXC: Array) -> Array:
        """The number of the likeliest word of each place, as labels are."""
        return self.scores(params, pixels_BYXC).argmax(axis=-1)

    def _loss(self, params: Namer, fixed: Any, sample: Sample, key: Array) -> Array:
        """Cross-entropy of each place whose word is known."""
        del fixed, key
        log_p_BKW = jax.nn.log_softmax(self.scores(params, sample.pixels_BYXC), axis=-1)
        is_known_BK = sample.labels_BK >= 0
        at_BK1 = jnp.maximum(sample.labels_BK, 0)[..., None]
        loss_BK = -jnp.take_along_axis(log_p_BKW, at_BK1, axis=-1)[..., 0]
        return jnp.where(is_known_BK, loss_BK, 0).sum() / jnp.maximum(is_known_BK.sum(), 1)
