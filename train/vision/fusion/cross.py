"""Cross-attention (Flamingo): the picture takes no positions; the text's positions look at it between the blocks.

Tower and decoder are pretrained as for embedded fusion; then the new layers alone, then all together.
"""

from typing import Any

import jax.numpy as jnp

from llm_jax.models import decoder
from llm_jax.models.vision_language import cross
from llm_jax.models.vision_language.parameters import Tower, count
from llm_jax.models.vision_language.tower import normalised, tower
from llm_jax.shapes import Array, Float, pytree
from train.vision import flops
from train.vision.data.world import Sample
from train.vision.fusion.base import Answered, Rows, Task, answered, fresh, fresh_decoder, mean_loss, rows
from train.vision.fusion.embedded import SHARES
from train.vision.fusion.pipeline import run_stage
from train.vision.fusion.reading import Reading
from train.vision.fusion.seeing import Seeing
from train.vision.training import Progress, Stage


@pytree
class Parameters:
    tower: Tower
    layers: tuple[cross.Gated, ...]
    text: decoder.Decoder


class Cross:
    name = "cross"

    def __init__(self, task: Task):
        self.task = task
        self.seeing, self.reading = Seeing(task), Reading(task)
        self.config, self.vision = self.reading.config, self.seeing.config
        before = flops.tower(self.vision, self.vision.n_layers)
        behind, between = flops.decoder(self.config, task.asked_length), self._cost()
        rate = task.config.rate
        first = flops.FROZEN * before + flops.TRAINED * between + flops.PASSED * behind
        self.layers_stage = Stage("cross-attention between two frozen parts", self._layers_loss, first, rate)
        every = flops.TRAINED * (before + between + behind)
        self.all_stage = Stage("tower, cross-attention and decoder", self._loss, every, rate)

    def _cost(self) -> int:
        length, seen, width = self.task.asked_length, self.vision.n_patches, self.task.config.width
        products = flops.linear(2 * length, width, width) + flops.linear(2 * seen, width, width)
        return self.config.n_layers * (products + 4 * length * seen * width)

    def train(self, seed: int, progress: Progress) -> tuple[Parameters, list[dict[str, Any]]]:
        config = self.task.config
        budget = {name: share * config.budget for name, share in SHARES.items()}
        common = (self.task.world, config.batch_size, seed, progress)
        namer, seen = run_stage(self.seeing.stage, fresh(self.seeing.init, seed, 0), None, budget["seeing"], *common)
        text, read = run_stage(self.reading.stage, fresh_decoder(seed, self.config), None, budget["reading"], *common)
        fixed = Parameters(
            namer.tower, fresh(cross.init, seed, 2, self.config, self.vision.n_patches, self.vision.d_model), text
        )
        layers, first = run_stage(self.layers_stage, fixed.layers, fixed, budget["projector"], *common)
        rest = config.budget - sum(budget.values())
        params, last = run_stage(self.all_stage, Parameters(namer.tower, layers, text), None, rest, *common)
        return params, [seen, read, first, last]

    def rows_of(self, sample: Sample) -> Rows:
        return rows(self.task.words, jnp.zeros((len(sample.question_BM), 0), jnp.int32), sample)

    def hidden(self, params: Parameters, sample: Sample, row: Rows) -> Float[Array, "B T D"]:
        pixels_BYXC = normalised(sample.pixels_BYXC, self.vision)
        vectors_BPD = tower(params.tower, pixels_BYXC, self.vision, self.task.plan)[:, 1:]
        tokens_BT = row.tokens_BT[:, :-1]
        branches_BT = row.branches_BT[:, :-1]
        return cross.forward(
            params.text, params.layers, tokens_BT, vectors_BPD, self.config, self.task.plan, branches_BT
        )

    def answer(self, params: Parameters, sample: Sample) -> Answered:
        row = self.rows_of(sample)
        hidden_BTD = self.hidden(params, sample, row)
        return answered(params.text, hidden_BTD, row, row.weights_BT, self.config, self.task.plan)

    def _loss(self, params: Parameters, fixed: Any, sample: Sample, key: Array) -> Array:
        del fixed, key
        row = self.rows_of(sample)
        return mean_loss(params.text, self.hidden(params, sample, row), row, self.config, self.task.plan)

    def _layers_loss(self, layers: Any, fixed: Parameters, sample: Sample, key: Array) -> Array:
        return self._loss(Parameters(fixed.tower, layers, fixed.text), None, sample, key)

    def sizes_of(self, params: Parameters) -> dict[str, int]:
        return {"tower": count(params.tower), "cross-attention": count(params.layers), "decoder": count(params.text)}
