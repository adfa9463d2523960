"""Validation: mean loss over the held-out examples, and what else the task measures; for classes also a picture.

F1 is the mean over classes of 2·tp/(2·tp + fp + fn) (macro F1); of a class that neither is there nor is named, 0.
"""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from llm_jax.runs import CONFUSION
from train.finetune.objectives import Batch
from train.record import plots


class Validation(NamedTuple):
    """Under the names of `train.record.metrics`; empty where no example is held out."""

    values: dict[str, float]

    def metrics(self) -> dict[str, float]:
        return self.values


class Evaluator:
    """The compiled sums and the batches they run over: the same ones every time, in the order of the file."""

    def __init__(
        self,
        sums: Callable[..., Any],
        base: Any,
        batches: Callable[[], Iterable[Batch]],
        labels: tuple[str, ...] | None,
        folder: Path | None,
    ) -> None:
        """`sums`: compiled. `folder`: where the picture of the classes goes; None: nowhere."""
        self._sums, self._base, self._batches = sums, base, batches
        self._labels, self._folder = labels, folder

    def __call__(self, trained: Any, should_stop: Callable[[], bool]) -> Validation | None:
        """What is measured of `trained`; None when asked to stop on the way."""
        parts: list[Any] = []
        for batch in self._batches():
            if should_stop():
                return None
            jax.block_until_ready(parts[-2:-1])  # one batch computes, one waits: each in flight holds scratch memory
            parts.append(self._sums(trained, self._base, batch))
        if not parts:
            return Validation({})
        losses, weights, further = zip(*jax.device_get(parts), strict=True)
        weight = math.fsum(map(float, weights))
        values = {"val_loss": math.fsum(map(float, losses)) / weight}
        for name in further[0]:
            total = np.stack([sums[name] for sums in further]).sum(axis=0, dtype=np.float64)
            if name == "confusion":
                values["val_f1"] = macro_f1(np.asarray(total))
                if self._folder and self._labels:
                    draw_confusion(self._folder / CONFUSION, total.astype(int), self._labels)
            else:
                values[f"val_{name}"] = float(total / weight)
        return Validation(values)


def macro_f1(confusion_CC: np.ndarray) -> float:
    """The mean of the classes' F1; rows are the true classes, columns those that the model names."""
    right = np.diag(confusion_CC)
    named, there = confusion_CC.sum(axis=0), confusion_CC.sum(axis=1)
    return float(np.mean(2 * right / np.maximum(named + there, 1)))


def draw_confusion(out: Path, confusion_CC: np.ndarray, labels: tuple[str, ...]) -> None:
    """Draws the confusion matrix: how many examples of the row's class the model takes for the column's."""
    plt = plots.pyplot()
    side = max(3.5, 0.6 * len(labels) + 2)
    figure, axes = plt.subplots(figsize=(side, side), layout="constrained")
    shares = confusion_CC / np.maximum(confusion_CC.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(confusion_CC):
        color = "white" if shares[row, column] > 0.5 else plots.INK
        axes.text(column, row, f"{count:,}", ha="center", va="center", color=color)
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    accuracy = np.trace(confusion_CC) / max(confusion_CC.sum(), 1)
    axes.set(xlabel="the model's class", ylabel="true class", title=f"held-out examples: {accuracy:.1%} right")
    plots.save(figure, out)
