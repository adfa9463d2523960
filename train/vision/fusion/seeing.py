"""A tower that names what it sees: every patch of its last layer names the part of the picture that it lies in.

All patches share one head, so a patch's vector has to hold what is in its part, as a decoder that is given these
vectors needs it. A head of its own for each patch would let every patch keep its piece of the evidence.
"""

from typing import Any

import jax
import jax.numpy as jnp

from llm_jax.layers.linear import Linear, init_linear, linear
from llm_jax.models.vision_language.config import VisionConfig
from llm_jax.models.vision_language.parameters import Tower, init_tower
from llm_jax.models.vision_language.tower import normalised, tower
from llm_jax.shapes import Array, Float, Int, Key, pytree
from train.vision import flops
from train.vision.data.world import WORDS, Sample
from train.vision.fusion.base import Task
from train.vision.training import Stage


@pytree
class Namer:
    tower: Tower
    head: Linear  # a patch's vector → a score for every word of its part


class Seeing:
    """The namer of a task, its training and its words."""

    def __init__(self, task: Task):
        self.task = task
        self.config: VisionConfig = tower_of(task)
        self._sizes_W = jnp.array([len(place) for place in task.world.places[:WORDS]])
        self._shape = (WORDS, task.words.words_KW.shape[1])
        head = flops.linear(self.config.n_patches, self.config.d_model, self._shape[0] * self._shape[1])
        cost = flops.TRAINED * (flops.tower(self.config, self.config.n_layers) + head)
        self.stage = Stage("tower names what it sees", self._loss, cost, task.config.rate)

    def init(self, key: Key[Array, ""]) -> Namer:
        of_tower, of_head = jax.random.split(key)
        width = self.config.d_model
        return Namer(init_tower(of_tower, self.config), init_linear(of_head, (width,), self._shape, width**-0.5))

    def log_p(self, params: Namer, pixels_BYXC: Array) -> Float[Array, "B parts P 2 W"]:
        """Every patch's log-probability of each word of its part; −∞ where there are fewer words."""
        x_BSD = tower(params.tower, normalised(pixels_BYXC, self.config), self.config, self.task.plan)
        scores_BpPKW = linear(params.head, by_part(x_BSD[:, 1:], self.task.world.n_parts))
        is_word_KW = jnp.arange(self._shape[1]) < self._sizes_W[:, None]
        return jax.nn.log_softmax(jnp.where(is_word_KW, scores_BpPKW, -jnp.inf), axis=-1)

    def names(self, params: Namer, pixels_BYXC: Array) -> Int[Array, "B K"]:
        """The number of the likeliest word of each place, as labels are: by the sum over the part's patches."""
        return self.log_p(params, pixels_BYXC).sum(axis=2).argmax(axis=-1).reshape(len(pixels_BYXC), -1)

    def _loss(self, params: Namer, fixed: Any, sample: Sample, key: Array) -> Array:
        """Cross-entropy of every patch, where the word of its part is known."""
        del fixed, key
        log_p_BpPKW = self.log_p(params, sample.pixels_BYXC)
        labels_BpPK = jnp.broadcast_to(
            sample.labels_BK.reshape(len(sample.labels_BK), -1, 1, WORDS), log_p_BpPKW.shape[:-1]
        )
        is_known_BpPK = labels_BpPK >= 0
        loss_BpPK = -jnp.take_along_axis(log_p_BpPKW, jnp.maximum(labels_BpPK, 0)[..., None], axis=-1)[..., 0]
        return jnp.where(is_known_BpPK, loss_BpPK, 0).sum() / jnp.maximum(is_known_BpPK.sum(), 1)


def tower_of(task: Task) -> VisionConfig:
    """The task's tower. Raises ValueError where its patches do not fill the parts of a picture."""
    config, cut = task.config.tower(task.world.image_size), round(task.world.n_parts**0.5)
    if config.image_size // config.patch_size % cut:
        raise ValueError(
            f"--patch must divide {config.image_size // cut} pixels, the side of each of the {cut} × {cut} parts of a "
            f"picture that are named; got {config.patch_size}"
        )
    return config


def by_part(x_BPD: Float[Array, "B P D"], n_parts: int) -> Float[Array, "B parts P D"]:
    """The patches of each part of the picture: the parts and the patches of one are in reading order."""
    batch, side, cut = len(x_BPD), round(x_BPD.shape[1] ** 0.5), round(n_parts**0.5)
    squares = x_BPD.reshape(batch, cut, side // cut, cut, side // cut, -1).swapaxes(2, 3)
    return squares.reshape(batch, n_parts, (side // cut) ** 2, -1)
