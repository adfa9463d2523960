"""Contrastive training (CLIP): parts of pictures and their words in one space; names are found by comparing.

Every place of a picture (a quarter, or the whole) is one example: the mean of its patches' vectors, against the words
"red 7". Nothing says which words there are: a place is named by the nearest of all pairs of words, those that training
never had too (zero-shot).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from llm_jax.layers.linear import Linear, init_linear, linear
from llm_jax.models import decoder
from llm_jax.models.encoder.pooling import normalise
from llm_jax.models.vision_language import contrast
from llm_jax.models.vision_language.parameters import Tower, count, init_tower
from llm_jax.models.vision_language.tower import normalised, tower
from llm_jax.shapes import Array, Float, Int, Key, pytree
from train.vision import flops
from train.vision.data.world import WORDS, Sample
from train.vision.fusion.base import Task, fresh
from train.vision.fusion.pipeline import run_stage
from train.vision.fusion.seeing import by_part, tower_of
from train.vision.training import Progress, Stage

FIRST_SCALE = 10.0  # of the cosines


@pytree
class Parameters:
    tower: Tower
    seen: Linear  # of a place's mean vector → the common space
    text: decoder.Decoder
    said: Linear  # of the last word's state → the common space
    log_scale: Float[Array, ""]


class Contrastive:
    name = "contrastive"

    def __init__(self, task: Task):
        self.task, config = task, task.config
        self.vision = tower_of(task)
        self.config = config.decoder(task.words.vocab_size, WORDS)
        places = [len(place) for place in task.world.places[:WORDS]]
        self.n_parts = task.world.n_parts
        self.pairs_PK = np.stack(np.meshgrid(*map(np.arange, places), indexing="ij"), axis=-1).reshape(-1, WORDS)
        one = flops.tower(self.vision, self.vision.n_layers) + self.n_parts * flops.decoder(self.config, WORDS, 0)
        self.stage = Stage("pictures find their words", self._loss, flops.TRAINED * one, config.rate)

    def init(self, key: Key[Array, ""]) -> Parameters:
        of_tower, of_seen, of_text, of_said = jax.random.split(key, 4)
        width = self.task.config.width
        return Parameters(
            tower=init_tower(of_tower, self.vision),
            seen=init_linear(of_seen, (width,), (width,), width**-0.5),
            text=decoder.init(of_text, self.config),
            said=init_linear(of_said, (width,), (width,), width**-0.5),
            log_scale=jnp.log(FIRST_SCALE),
        )

    def train(self, seed: int, progress: Progress) -> tuple[Parameters, list[dict[str, Any]]]:
        config = self.task.config
        start = fresh(self.init, seed, 0)
        params, record = run_stage(
            self.stage, start, None, config.budget, self.task.world, config.batch_size, seed, progress
        )
        return params, [record]

    def see(self, params: Parameters, pixels_BYXC: Array) -> Float[Array, "B parts D"]:
        """One vector for each part of each picture: the mean of its patches."""
        x_BSD = tower(params.tower, normalised(pixels_BYXC, self.vision), self.vision, self.task.plan)[:, 1:]
        return linear(params.seen, by_part(x_BSD, self.n_parts).mean(axis=2))

    def say(self, params: Parameters, pairs_PK: Int[Array, "P K"]) -> Float[Array, "P D"]:
        """One vector for each pair of words: the last word's state."""
        tokens_PK = jnp.asarray(self.task.words.words_KW)[jnp.arange(WORDS), pairs_PK]
        hidden_PKD = decoder.forward(params.text, tokens_PK, self.config, self.task.plan)[0]
        return linear(params.said, hidden_PKD[:, -1])

    def names(self, params: Parameters, pixels_BYXC: Array) -> Int[Array, "B K"]:
        """The nearest pair of words for every part, as labels are."""
        pairs_PK = jnp.asarray(self.pairs_PK)
        said_PD = normalise(self.say(params, pairs_PK))
        cosine = self.see(params, pixels_BYXC) @ said_PD.T
        return pairs_PK[cosine.argmax(axis=-1)].reshape(len(pixels_BYXC), -1)

    def named(self, params: Parameters, sample: Sample) -> dict[str, float]:
        """The share of places whose words are found: first word, second word, both. Unknown places do not count."""
        right_BPK, known_BPK = self._compared(params, sample)
        found = {f"word {k + 1}": float(np.mean(right_BPK[..., k], where=known_BPK[..., k])) for k in range(WORDS)}
        is_known_BP = np.all(known_BPK, axis=-1)
        return found | {"both": float(np.mean(np.all(right_BPK, axis=-1), where=is_known_BP))}

    def _compared(self, params: Parameters, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        labels = np.asarray(sample.labels_BK)
        found = np.asarray(jax.jit(self.names)(params, jnp.asarray(sample.pixels_BYXC)))
        shape = (len(labels), self.n_parts, WORDS)
        return np.equal(found, labels).reshape(shape), np.greater_equal(labels, 0).reshape(shape)

    def _loss(self, params: Parameters, fixed: Any, sample: Sample, key: Array) -> Array:
        del fixed, key
        pairs = sample.labels_BK.reshape(-1, WORDS)
        seen_PD = self.see(params, sample.pixels_BYXC).reshape(len(pairs), -1)
        same_P = pairs[:, 0] * self.task.words.words_KW.shape[1] + pairs[:, 1]
        said_PD, is_known_P = self.say(params, jnp.maximum(pairs, 0)), (pairs >= 0).all(axis=1)
        return contrast.loss(seen_PD, said_PD, same_P, is_known_P, params.log_scale)

    def sizes_of(self, params: Parameters) -> dict[str, int]:
        return {"tower": count(params.tower), "text": count(params.text)}
