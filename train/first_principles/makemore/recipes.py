"""Every neural model by name: its size, and how it is trained on a few ten thousand lines in minutes on two cores."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from llm_jax.config import DecoderConfig
from llm_jax.models.makemore import lookup, mlp, recurrent, wavenet
from train.first_principles.makemore.config import MakemoreConfig
from train.first_principles.makemore.dataset.lines import Lines
from train.first_principles.makemore.models import ModelConfig
from train.first_principles.makemore.training import Recipe
from train.optim.config import OptimizerConfig, ScheduleConfig


@dataclass(frozen=True)
class Named:
    """A model as it is made for an alphabet and lines of some length, and its training."""

    config: Callable[[int, int], ModelConfig]  # (vocabulary, longest line)
    recipe: Recipe


def _recipe(
    steps: int, batch_size: int, learning_rate: float, weight_decay: float = 0.0, dropout: float = 0.0, **optimizer
) -> Recipe:
    """AdamW (or what `optimizer` says) with a warm-up and a cosine to zero."""
    return Recipe(
        steps,
        batch_size,
        OptimizerConfig(
            learning_rate=learning_rate, weight_decay=weight_decay, **{"beta_2": 0.99, "clip_norm": 0.0, **optimizer}
        ),
        ScheduleConfig(warmup_steps=100, final_fraction=0.0),
        dropout=dropout,
    )


RECIPES: dict[str, Named] = {
    "neural-bigram": Named(lambda v, _: lookup.Config(v), _recipe(4_000, 2_048, 0.05)),
    "mlp": Named(lambda v, _: mlp.Config(v), _recipe(40_000, 256, 5e-3)),
    "mlp-batchnorm": Named(lambda v, _: mlp.Config(v, batch_norm=True), _recipe(40_000, 256, 5e-3)),
    "wavenet": Named(lambda v, _: wavenet.Config(v), _recipe(20_000, 256, 3e-3, weight_decay=0.5)),
    "rnn": Named(lambda v, _: recurrent.Config(v), _recipe(6_000, 64, 2e-3, weight_decay=0.3, clip_norm=1.0)),
    "gru": Named(
        lambda v, _: recurrent.Config(v, gated=True), _recipe(6_000, 64, 2e-3, weight_decay=0.3, clip_norm=1.0)
    ),
    "transformer": Named(
        lambda v, longest: DecoderConfig(vocab_size=v, context_length=longest + 1, d_model=96, n_heads=6, n_layers=4),
        _recipe(12_000, 64, 4e-3, weight_decay=0.5, dropout=0.2, clip_norm=1.0, optimizer="muon"),
    ),
}


def adjusted(options: MakemoreConfig, data: Lines) -> tuple[Recipe, ModelConfig]:
    """The recipe and config of `options.model`, with what the options say otherwise."""
    named = RECIPES[options.model]
    config = named.config(data.vocab_size, data.longest)
    if isinstance(config, mlp.Config):
        config = dataclasses.replace(config, initialisation=options.initialisation)
    given = {"learning_rate": options.learning_rate, "weight_decay": options.weight_decay}
    optimizer = dataclasses.replace(
        named.recipe.optimizer, **{name: value for name, value in given.items() if value is not None}
    )
    steps = options.steps or named.recipe.steps
    schedule = dataclasses.replace(
        named.recipe.schedule, warmup_steps=min(named.recipe.schedule.warmup_steps, steps // 10)
    )
    batch_size = options.batch_size or named.recipe.batch_size
    dropout = named.recipe.dropout if options.dropout is None else options.dropout
    return Recipe(steps, batch_size, optimizer, schedule, options.seed, dropout), config
