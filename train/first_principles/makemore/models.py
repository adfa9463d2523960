"""Every neural model behind one face, so that the trainer need not know which one it trains."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from llm_jax.config import DecoderConfig, Execution
from llm_jax.layers.dropout import Dropout
from llm_jax.models import decoder
from llm_jax.models.makemore import lookup, mlp, recurrent, wavenet
from llm_jax.models.watch import Watch, unwatched
from llm_jax.shapes import Array, Key
from train.first_principles.makemore.dataset.examples import Examples, sequences, windows

ModelConfig = lookup.Config | mlp.Config | wavenet.Config | recurrent.Config | DecoderConfig


@dataclass(frozen=True)
class Model:
    """A model's functions with its config filled in."""

    config: ModelConfig
    reads: Literal["windows", "sequences"]
    length: int  # characters of a window, or positions of a sequence
    init: Callable[[Key[Array, ""]], Any]
    logits: Callable[..., Array]  # (params, tokens (B, T), watch) → (B, V) or (B, T, V)
    letters: Callable[[Any], Any]  # params → the same tree of dimension letters
    calibrate: Callable[[Any, Array], Any]  # (params, windows) → params for predictions one by one
    noisy_logits: Callable[..., Array] | None = None  # (params, tokens, dropout), where a model has dropout

    def examples(self, lines: list) -> Examples:
        return windows(lines, self.length) if self.reads == "windows" else sequences(lines, self.length)


def build(config: ModelConfig, longest_line: int) -> Model:
    """The model of a config. Sequences are as long as the longest line and its break (or the Transformer's context)."""
    if isinstance(config, DecoderConfig):
        plan = decoder.make_plan(Execution())
        return Model(
            config=config,
            reads="sequences",
            length=config.context_length,
            init=partial(decoder.init, config=config),
            logits=partial(_gpt_logits, config, plan),
            letters=lambda params: decoder.dimension_letters(config),
            calibrate=lambda params, tokens: params,
            noisy_logits=lambda params, tokens, noise: _gpt_logits(config, plan, params, tokens, noise=noise),
        )
    module: Any = MODULES[type(config)]
    is_window = isinstance(config, mlp.Config | wavenet.Config)
    return Model(
        config=config,
        reads="windows" if is_window else "sequences",
        length=config.context if is_window else longest_line + 1,
        init=partial(module.init, config=config),
        logits=module.logits,
        letters=module.dimension_letters,
        calibrate=module.calibrate if is_window else lambda params, tokens: params,
    )


MODULES = {lookup.Config: lookup, mlp.Config: mlp, wavenet.Config: wavenet, recurrent.Config: recurrent}


def _gpt_logits(
    config: DecoderConfig,
    plan: decoder.Plan,
    params: decoder.Decoder,
    tokens_BT: Array,
    watch: Watch = unwatched,
    noise: Dropout | None = None,
) -> Array:
    """The GPT has no layers to watch but its last hidden states."""
    hidden_BTD, _ = decoder.forward(params, tokens_BT, config, plan, noise=noise)
    return decoder.logits(params, watch("hidden", hidden_BTD), config, plan)
