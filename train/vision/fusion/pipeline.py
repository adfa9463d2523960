"""Pipeline: a tower names what it sees in words, and a language model answers from the words.

The two are trained apart. What the words leave out (here: how thick a digit is) is lost,
and so is every doubt: a wrong word looks like a right one.
"""

from typing import Any

from llm_jax.models import decoder
from llm_jax.models.vision_language.parameters import count
from llm_jax.shapes import pytree
from train.vision.data.world import Sample
from train.vision.fusion.base import Answered, Task, fresh, fresh_decoder
from train.vision.fusion.reading import Reading
from train.vision.fusion.seeing import Namer, Seeing
from train.vision.training import Progress

SEEING = 0.4  # share of the compute


@pytree
class Parameters:
    namer: Namer
    text: decoder.Decoder


class Pipeline:
    name = "pipeline"

    def __init__(self, task: Task):
        self.task = task
        self.seeing, self.reading = Seeing(task), Reading(task)
        self.others = {"pipeline, true words": self.answer_from_true_words}

    def train(self, seed: int, progress: Progress) -> tuple[Parameters, list[dict[str, Any]]]:
        config = self.task.config
        start = Parameters(fresh(self.seeing.init, seed, 0), fresh_decoder(seed, self.reading.config))
        common = (self.task.world, config.batch_size, seed, progress)
        namer, seen = run_stage(self.seeing.stage, start.namer, None, SEEING * config.budget, *common)
        text, read = run_stage(self.reading.stage, start.text, None, (1 - SEEING) * config.budget, *common)
        return Parameters(namer, text), [seen, read]

    def answer(self, params: Parameters, sample: Sample) -> Answered:
        names_BK = self.seeing.names(params.namer, sample.pixels_BYXC)
        return self.reading.answer(params.text, sample, names_BK)

    def answer_from_true_words(self, params: Parameters, sample: Sample) -> Answered:
        """As if the tower had named everything rightly: what is wrong now, the words have left out."""
        return self.reading.answer(params.text, sample, sample.labels_BK)

    def sizes_of(self, params: Parameters) -> dict[str, int]:
        return {"tower": count(params.namer), "decoder": count(params.text)}


def run_stage(stage, trained, fixed, budget, world, batch, seed, progress):
    """`Stage.run`, its arguments in the order in which the ways have them."""
    return stage.run(trained, fixed, world, budget, batch, seed, progress)
