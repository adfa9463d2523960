"""Sizes and schedules of each task, and what the command line changes in them."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from train.architectures.config import ArchitecturesConfig
from train.optim.config import OptimizerConfig, ScheduleConfig
from train.optim.optimizer import noam_peak

HEAD_WIDTH = 32


@dataclass(frozen=True)
class Recipe:
    """How a model of one task is built and trained."""

    d_model: int
    n_layers: int  # of the encoder, and of the decoder
    steps: int
    batch: int  # pairs, or windows
    warmup: int  # steps
    dropout: float
    smoothing: float = 0.0  # of labels
    measure_every: int = 100  # steps
    norm: Literal["post", "pre"] = "post"
    factor: float = 1.0  # on Noam's learning rate
    falls: bool = False  # whether the rate falls to 0, as half a cosine

    @property
    def n_heads(self) -> int:
        return self.d_model // HEAD_WIDTH

    @property
    def schedule(self) -> ScheduleConfig:
        """Noam's: D^−½·min(s^−½, s·w^−3/2) (Vaswani et al. 2017, eq. 3); where it `falls`, a cosine from its peak."""
        if self.falls:
            return ScheduleConfig(schedule="cosine", warmup_steps=self.warmup, final_fraction=0.0)
        return ScheduleConfig(schedule="noam", warmup_steps=self.warmup)

    @property
    def optimizer(self) -> OptimizerConfig:
        """Adam with the paper's constants (§5.3); gradients are clipped, which the paper does not do."""
        return OptimizerConfig(
            learning_rate=self.factor * noam_peak(self.d_model, self.warmup),
            beta_2=0.98,
            adam_epsilon=1e-9,
            weight_decay=0.0,
        )


RECIPES = {
    "copy": Recipe(d_model=64, n_layers=2, steps=1500, batch=128, warmup=400, dropout=0.0),
    "reversal": Recipe(d_model=64, n_layers=2, steps=2500, batch=128, warmup=400, dropout=0.0),
    "g2p": Recipe(
        d_model=128,
        n_layers=2,
        steps=2500,
        batch=128,
        warmup=800,
        dropout=0.2,
        smoothing=0.1,
        measure_every=125,
        falls=True,
    ),
    "cloze": Recipe(
        d_model=128, n_layers=2, steps=1500, batch=32, warmup=300, dropout=0.0, measure_every=150, factor=0.4
    ),
    "spam": Recipe(d_model=128, n_layers=2, steps=300, batch=32, warmup=60, dropout=0.1, factor=0.1),
}
QUICK = {"d_model": 32, "n_layers": 1, "steps": 6, "batch": 16, "warmup": 2, "measure_every": 3}


def recipe_of(options: ArchitecturesConfig) -> Recipe:
    """The task's recipe with the options that were given; the warm-up takes at most a third of the steps."""
    recipe = RECIPES[options.task]
    if options.quick:
        recipe = dataclasses.replace(recipe, **QUICK)
    given = {name: getattr(options, name) for name in ("d_model", "n_layers", "steps", "batch", "dropout", "norm")}
    recipe = dataclasses.replace(recipe, **{name: value for name, value in given.items() if value is not None})
    warmup = max(1, min(recipe.warmup, recipe.steps // 3))
    factor = recipe.factor * math.sqrt(warmup / recipe.warmup)  # Noam's peak is as 1/√warm-up; the recipe's stays
    return dataclasses.replace(recipe, warmup=warmup, factor=factor)
