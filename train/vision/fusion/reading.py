"""A decoder that answers from words: " red 7 blue 3 …", then the question. It never sees a picture."""

from typing import Any

import jax.numpy as jnp

from llm_jax.models import decoder
from llm_jax.shapes import Array, Float, Int
from train.vision import flops
from train.vision.data.world import Sample
from train.vision.fusion.base import Answered, Rows, Task, answered, mean_loss, rows
from train.vision.training import Stage


class Reading:
    """The decoder of a task, taught on the true words of training pictures."""

    def __init__(self, task: Task, length: int | None = None):
        """`length`: the longest row that the decoder has to hold; by default that of words and question."""
        self.task = task
        self.length = len(task.world.places) + task.asked_length
        self.config = task.config.decoder(task.words.vocab_size, max(self.length, length or 0))
        cost = flops.TRAINED * flops.decoder(self.config, self.length)
        self.stage = Stage("decoder answers from words", self._loss, cost, task.config.rate)

    def caption(self, labels_BK: Int[Array, "B K"]) -> Int[Array, "B K"]:
        """The tokens of the words; an unknown word is the end token."""
        words_KW = jnp.asarray(self.task.words.words_KW)
        tokens_BK = words_KW[jnp.arange(len(words_KW)), jnp.maximum(labels_BK, 0)]
        return jnp.where(labels_BK < 0, self.task.words.end, tokens_BK)

    def hidden(self, params: decoder.Decoder, row: Rows) -> Float[Array, "B T D"]:
        tokens_BT, branches_BT = row.tokens_BT[:, :-1], row.branches_BT[:, :-1]
        return decoder.forward(params, tokens_BT, self.config, self.task.plan, branches_BT=branches_BT)[0]

    def answer(self, params: decoder.Decoder, sample: Sample, labels_BK: Int[Array, "B K"]) -> Answered:
        """Answers from these words."""
        row = rows(self.task.words, self.caption(labels_BK), sample)
        return answered(params, self.hidden(params, row), row, row.weights_BT, self.config, self.task.plan)

    def _loss(self, params: decoder.Decoder, fixed: Any, sample: Sample, key: Array) -> Array:
        del fixed, key
        row = rows(self.task.words, self.caption(sample.labels_BK), sample)
        return mean_loss(params, self.hidden(params, row), row, self.config, self.task.plan)
