"""Embedded fusion (LLaVA, Liu et al. 2023): patches' vectors, projected, stand in the decoder's positions.

Four stages, whose compute adds up to what the other ways get. Tower and decoder are pretrained apart, as a pipeline's
are: the tower names what it sees, the decoder answers from words. Then the projector is trained alone, between the two
frozen parts, so that its first, random vectors do not spoil them; then all three together. The vectors are those of
the tower's last layer, for every patch of it has learnt to say what is there (`seeing`). LLaVA takes the layer before,
because the last layer of CLIP's tower serves its class token.
"""

from typing import Any

import jax.numpy as jnp

from llm_jax.models.vision_language import forward as seeing_decoder
from llm_jax.models.vision_language.config import VisionLanguageConfig
from llm_jax.models.vision_language.parameters import VisionLanguage, count, init_projector
from llm_jax.models.vision_language.tower import normalised
from llm_jax.shapes import Array, Float
from train.vision import flops
from train.vision.data.world import Sample
from train.vision.fusion.base import Answered, Rows, Task, answered, fresh, fresh_decoder, mean_loss, rows
from train.vision.fusion.pipeline import run_stage
from train.vision.fusion.reading import Reading
from train.vision.fusion.seeing import Seeing
from train.vision.training import Progress, Stage

SHARES = {"seeing": 0.25, "reading": 0.2, "projector": 0.05}  # of the compute; the rest trains all three


class Embedded:
    name = "embedded"

    def __init__(self, task: Task):
        self.task = task
        self.seeing = Seeing(task)
        n_patches = self.seeing.config.n_patches
        self.length = n_patches + task.asked_length
        self.reading = Reading(task, self.length)
        self.config = VisionLanguageConfig(
            self.seeing.config, self.reading.config, task.words.image_token, feature_layer=-1
        )
        depth = self.config.feature_depth
        before = flops.tower(self.seeing.config, depth)
        between = flops.linear(n_patches, task.config.width, 2 * task.config.width)
        behind = flops.decoder(self.config.text, self.length)
        first = flops.FROZEN * before + flops.TRAINED * between + flops.PASSED * behind
        rate = task.config.rate
        self.projector_stage = Stage("projector between two frozen parts", self._projector_loss, first, rate)
        every = flops.TRAINED * (before + between + behind)
        self.all_stage = Stage("tower, projector and decoder", self._loss, every, rate)

    def train(self, seed: int, progress: Progress) -> tuple[VisionLanguage, list[dict[str, Any]]]:
        config = self.task.config
        budget = {name: share * config.budget for name, share in SHARES.items()}
        common = (self.task.world, config.batch_size, seed, progress)
        namer, seen = run_stage(self.seeing.stage, fresh(self.seeing.init, seed, 0), None, budget["seeing"], *common)
        text, read = run_stage(
            self.reading.stage, fresh_decoder(seed, self.reading.config), None, budget["reading"], *common
        )
        fixed = VisionLanguage(namer.tower, fresh(init_projector, seed, 2, self.config), text)
        projector, first = run_stage(self.projector_stage, fixed.projector, fixed, budget["projector"], *common)
        start = VisionLanguage(namer.tower, projector, text)
        rest = config.budget - sum(budget.values())
        params, last = run_stage(self.all_stage, start, None, rest, *common)
        return params, [seen, read, first, last]

    def rows_of(self, sample: Sample) -> Rows:
        shape = (len(sample.question_BM), self.config.vision.n_patches)
        return rows(self.task.words, jnp.full(shape, self.config.image_token, jnp.int32), sample)

    def hidden(self, params: VisionLanguage, sample: Sample, row: Rows) -> Float[Array, "B T D"]:
        pixels_BYXC = normalised(sample.pixels_BYXC, self.config.vision)
        tokens_BT, branches_BT = row.tokens_BT[:, :-1], row.branches_BT[:, :-1]
        return seeing_decoder.forward(params, tokens_BT, pixels_BYXC, self.config, self.task.plan, branches_BT)

    def answer(self, params: VisionLanguage, sample: Sample) -> Answered:
        row = self.rows_of(sample)
        hidden_BTD = self.hidden(params, sample, row)
        return answered(params.text, hidden_BTD, row, row.weights_BT, self.config.text, self.task.plan)

    def _loss(self, params: VisionLanguage, fixed: Any, sample: Sample, key: Array) -> Array:
        del fixed, key
        row = self.rows_of(sample)
        return mean_loss(params.text, self.hidden(params, sample, row), row, self.config.text, self.task.plan)

    def _projector_loss(self, projector: Any, fixed: VisionLanguage, sample: Sample, key: Array) -> Array:
        return self._loss(VisionLanguage(fixed.tower, projector, fixed.text), None, sample, key)

    def sizes_of(self, params: VisionLanguage) -> dict[str, int]:
        return {"tower": count(params.tower), "projector": count(params.projector), "decoder": count(params.text)}
