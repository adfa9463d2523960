"""All sections of the comparison, over the same weights and the same tokens. Each section can run alone."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import numpy as np
import optax
import torch

from llm_jax.models import decoder
from train.optim.config import OptimizerConfig
from train.parity.compare import Gathered, Theirs, compare, gather
from train.parity.rounding import FORMATS, Format
from train.parity.stages.curve import LossCurves, curve_row, train_both
from train.parity.stages.decode import PROMPT, decode_row
from train.parity.stages.model import MICRO_BATCHES, our_activations, our_gradients, their_losses, their_pass
from train.parity.stages.models_compared import ModelsCompared, Ours
from train.parity.stages.operations import operation_rows
from train.parity.stages.step import Training, given_step_rows, our_own_step, our_training, their_own_step
from train.parity.stages.stream import Stream
from train.parity.verdict import Row

ACTIVATIONS, GRADIENTS, ACCUMULATED = "activations", "gradients", "accumulated gradients"
OWN_STEP = "AdamW step, own gradients"


@dataclass(frozen=True)
class Comparison:
    """What is compared. PyTorch's numbers are computed once, when they are first needed."""

    models: ModelsCompared
    stream: Stream
    steps: int = 100
    learning_rate: float = 6e-4
    new_tokens: int = 256
    seed: int = 0
    kept: dict[str, Gathered] = field(default_factory=dict)  # PyTorch's numbers, by section or operation

    def against(self, ours: Ours) -> "Comparison":
        """The same comparison with another model on our side, such as one with a planted fault.

        PyTorch's numbers are reused.
        """
        return dataclasses.replace(self, models=dataclasses.replace(self.models, ours=ours))

    def sections(self) -> list[tuple[str, Callable[[], Iterable[Row]]]]:
        """Each section's label and function, in the order of the computation."""
        return [
            ("operations", self.operations),
            ("activations, in float64 and with rounding", self.activations),
            ("gradients", self.gradients),
            ("accumulated gradients", self.accumulated),
            ("AdamW", self.given_step),
            ("AdamW, from each side's own gradients", self.own_step),
            (f"{self.steps} training steps, three times", self.training),
            ("decoding", self.decoding),
        ]

    def operations(self) -> Iterable[Row]:
        return operation_rows(self.models, self.tokens_BT, self.seed, self._gather)

    def activations(self) -> list[Row]:
        return compare(ACTIVATIONS, our_activations(self.models.ours, self.tokens_BT), self.gathered)

    def gradients(self) -> list[Row]:
        return compare(GRADIENTS, self._named(self.our_gradients), self.gathered)

    def accumulated(self) -> list[Row]:
        gradients = our_gradients(self.models.ours, self.tokens_BT, MICRO_BATCHES)
        return compare(ACCUMULATED, self._named(gradients), self.gathered)

    def given_step(self) -> list[Row]:
        norm = float(jax.jit(optax.tree_utils.tree_norm)(self.our_gradients))
        clipping = dataclasses.replace(self.optimizer, clip_norm=norm / 2)
        return given_step_rows(self.models, self.our_gradients, clipping)

    def own_step(self) -> list[Row]:
        ours = our_own_step(self.models.ours, self.our_training, self.tokens_BT, self.learning_rate)
        return compare(OWN_STEP, ours, self.gathered)

    def training(self) -> list[Row]:
        return [curve_row(self.curve)]

    def decoding(self) -> list[Row]:
        prompt, context = self.tokens_BT[0, :PROMPT].tolist(), self.models.ours.config.context_length
        logit_noise = self.gathered.noise["logits"] / math.sqrt(self.gathered.reference["logits"].size)
        return [decode_row(self.models, prompt, min(self.new_tokens, context - PROMPT), logit_noise)]

    def _named(self, tree: Any) -> dict[str, Any]:
        return self.models.ours.by_parameter(self.models.ours.to_hf(tree))

    @property
    def format(self) -> Format:
        return FORMATS[str(self.models.ours.plan.dtype)]

    @cached_property
    def tokens_BT(self) -> np.ndarray:
        """The batch of every section but the curve: B × (T + 1) ids."""
        return self.stream(0)

    @cached_property
    def our_gradients(self) -> decoder.Decoder:
        return our_gradients(self.models.ours, self.tokens_BT)

    @property
    def optimizer(self) -> OptimizerConfig:
        return OptimizerConfig(learning_rate=self.learning_rate)

    @cached_property
    def our_training(self) -> Training:
        return our_training(self.models.ours, self.optimizer)

    @property
    def gathered(self) -> Gathered:
        """Activations, gradients and one step of PyTorch's model."""

        def evaluate(model: torch.nn.Module) -> Mapping[str, Any]:
            tensors = their_pass(model, self.tokens_BT, self.models.ours)
            return tensors | their_own_step(model, self.models.ours, self.optimizer)

        return self._gather("model", Theirs(self.models.theirs, evaluate))

    def _gather(self, name: str, theirs: Theirs) -> Gathered:
        if name not in self.kept:
            self.kept[name] = gather(theirs, self.format)
        return self.kept[name]

    @cached_property
    def curve(self) -> LossCurves:
        loss_noise = self.gathered.noise["mean loss"]
        return train_both(
            self.models, self.our_training, self.stream, self.steps, self.optimizer, loss_noise, self.their_loss
        )

    def their_loss(self, model: torch.nn.Module, batch: Any) -> torch.Tensor:
        """PyTorch's mean loss of a batch."""
        return their_losses(model, batch)[1].mean()
