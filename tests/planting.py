"""How a fault is planted in our side of a comparison with PyTorch, and what the comparison has to say of it.

A fault is another function in our side's plan, another value, or (where the plan names no function) a function replaced
while its context lasts.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

from train.parity.comparison import Comparison
from train.parity.stages.models_compared import ModelsCompared
from train.parity.verdict import SEVERITY, Row, Verdict

AFTER_ATTENTION, AFTER_MLP = ("activations", "block 1, after attention"), ("activations", "block 1, after MLP")
EMBEDDING, LOGITS = ("activations", "embedding"), ("activations", "logits")


@dataclass(frozen=True)
class Fault:
    """A mistake, and the first row in which it must be called wrong: among all, and among the model's own."""

    name: str
    plant: Callable[[ModelsCompared], AbstractContextManager[ModelsCompared]]
    first: tuple[str, str]  # section, row
    in_model: tuple[str, str] | None = None  # where `first` is an operation, and the model shows it


def changing(change: Callable[[Any], Any]) -> Callable[[ModelsCompared], AbstractContextManager[ModelsCompared]]:
    """Plants by changing our side: its config or its parameters."""

    @contextlib.contextmanager
    def plant(models: ModelsCompared) -> Iterator[ModelsCompared]:
        yield dataclasses.replace(models, ours=change(models.ours))

    return plant


def replacing(
    module: Any, name: str, wrap: Callable[..., Any]
) -> Callable[[ModelsCompared], AbstractContextManager[ModelsCompared]]:
    """Plants by replacing `module.name` with `wrap`, which is given the original first."""

    @contextlib.contextmanager
    def plant(models: ModelsCompared) -> Iterator[ModelsCompared]:
        with patch.object(module, name, partial(wrap, getattr(module, name))):
            yield models

    return plant


def computing(**wraps: Callable[..., Any]) -> Callable[[ModelsCompared], AbstractContextManager[ModelsCompared]]:
    """Plants by our side's plan: each function named is replaced by a wrap, which is given the original first."""

    def change(ours):
        old = ours.plan.kernels
        new = old._replace(**{name: partial(wrap, getattr(old, name)) for name, wrap in wraps.items()})
        return dataclasses.replace(ours, plan=ours.plan._replace(kernels=new))

    return changing(change)


def first_wrong(comparison: Comparison, least: Verdict = "wrong") -> Row | None:
    """The first row that is at least so bad; sections behind it are not computed."""
    for _, section in comparison.sections():
        for row in section():
            if SEVERITY.index(row.verdict) >= SEVERITY.index(least):
                return row
    return None
