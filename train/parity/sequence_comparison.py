"""The sections of a comparison for an encoder and for an encoder–decoder (`stages.sequences`)."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch

from train.parity.compare import Gathered, Theirs, compare
from train.parity.comparison import ACTIVATIONS, Comparison
from train.parity.stages import sequences, translation_model
from train.parity.stages.decode import row_of
from train.parity.stages.sequences import SequenceSide
from train.parity.stages.step import Training, their_own_step
from train.parity.stages.translation_model import TranslationSide
from train.parity.verdict import Row


@dataclass(frozen=True)
class SequenceComparison(Comparison):
    """As `Comparison`; a batch is what the side's stream gives, and an encoder does not decode."""

    def sections(self) -> list[tuple[str, Callable[[], Iterable[Row]]]]:
        left_out = {"operations", "accumulated gradients"}
        left_out |= set() if isinstance(self.models.ours, TranslationSide) else {"decoding"}
        return [section for section in super().sections() if section[0] not in left_out]

    def activations(self) -> list[Row]:
        return compare(ACTIVATIONS, sequences.our_activations(self.side, self.batch), self.gathered)

    def decoding(self) -> list[Row]:
        n_tokens = min(self.new_tokens, self.side.config.context_length)
        ours, theirs = translation_model.continuations(self.models, self.batch, n_tokens)
        logit_noise = self.gathered.noise["logits"] / math.sqrt(self.gathered.reference["logits"].size)
        return [row_of(ours, theirs, logit_noise)]

    @property
    def side(self) -> SequenceSide:
        return cast(Any, self.models.ours)

    @cached_property
    def batch(self) -> Any:
        return self.stream(0)

    @cached_property
    def tokens_BT(self) -> Any:
        return self.batch

    @cached_property
    def our_gradients(self) -> Any:
        return sequences.our_gradients(self.side, self.batch)

    @cached_property
    def our_training(self) -> Training:
        return sequences.our_training(self.side, self.optimizer)

    @property
    def gathered(self) -> Gathered:
        def evaluate(model: torch.nn.Module) -> Mapping[str, Any]:
            tensors = sequences.their_pass(model, self.batch, self.side)
            return tensors | their_own_step(model, self.models.ours, self.optimizer)

        return self._gather("model", Theirs(self.models.theirs, evaluate))

    def their_loss(self, model: torch.nn.Module, batch: Any) -> torch.Tensor:
        return self.side.their_forward(model, batch).mean
