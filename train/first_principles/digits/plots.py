"""Plots of what a network has learned about digits: confusion matrix, worst mistakes, weights."""

from pathlib import Path

import numpy as np

from train.first_principles.digits.data import CLASSES
from train.record import plots

MOST_MISTAKES = 20  # in the plot


def confusion(labels_B: np.ndarray, p_BV: np.ndarray) -> np.ndarray:
    """The confusion matrix: number of images by (right digit, answer)."""
    counts = np.zeros((CLASSES, CLASSES), int)
    np.add.at(counts, (labels_B, p_BV.argmax(axis=1)), 1)
    return counts


def draw_confusion(out: Path, counts: np.ndarray) -> None:
    """Plots the confusion matrix. Only mistakes are coloured, because the diagonal is far larger."""
    figure, axes = plots.pyplot().subplots(figsize=(6, 5.4), layout="constrained")
    mistakes = counts * (1 - np.eye(CLASSES, dtype=int))
    axes.imshow(mistakes, cmap="Oranges", vmin=0, vmax=max(2, mistakes.max()) * 1.4)
    for (right, answer), count in np.ndenumerate(counts):
        if count:
            weight = "bold" if right == answer else "normal"
            axes.text(answer, right, str(count), ha="center", va="center", color=plots.INK, weight=weight, fontsize=9)
    accuracy = np.trace(counts) / counts.sum()
    axes.set(
        xlabel="answer",
        ylabel="digit",
        xticks=range(CLASSES),
        yticks=range(CLASSES),
        title=f"{mistakes.sum()} mistakes in {counts.sum():,} test images ({accuracy:.2%} right)",
    )
    plots.save(figure, out)


def draw_mistakes(out: Path, pictures: np.ndarray, labels_B: np.ndarray, p_BV: np.ndarray) -> None:
    """Plots the mistakes whose right digit has the lowest probability, the worst first."""
    p_right_B = p_BV[np.arange(len(labels_B)), labels_B]
    wrong = np.flatnonzero(p_BV.argmax(axis=1) != labels_B)
    worst = wrong[np.argsort(p_right_B[wrong])][:MOST_MISTAKES]
    columns = min(10, max(5, len(worst)))
    rows = max(1, -(-len(worst) // columns))
    figure, axes = plots.pyplot().subplots(
        rows, columns, figsize=(1.25 * columns, 1.75 * rows + 0.4), layout="constrained", squeeze=False
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, i in zip(axes.flat, worst, strict=False):
        axis.imshow(pictures[i], cmap="gray_r", vmin=0, vmax=1)
        answer = p_BV[i].argmax()
        axis.set_title(f"{labels_B[i]} read as {answer}\n{p_BV[i, answer]:.0%} sure", fontsize=8, color=plots.INK)
    figure.suptitle(f"the {len(worst)} worst of {len(wrong)} mistakes" if len(wrong) else "no mistakes", fontsize=10)
    plots.save(figure, out)


def draw_weights(out: Path, w1_DF: np.ndarray, w2_FV: np.ndarray, rows: int) -> None:
    """Plots the input weights of hidden units, arranged like the pixels; units with the largest weights first."""
    order = np.argsort(-np.linalg.norm(w1_DF, axis=0) * np.linalg.norm(w2_FV, axis=1))[:40]
    figure, axes = plots.pyplot().subplots(4, 10, figsize=(10, 4.4), layout="constrained")
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, unit in zip(axes.flat, order, strict=False):
        weights = w1_DF[:, unit].reshape(rows, -1)
        most = np.abs(weights).max()
        axis.imshow(weights, cmap="RdBu_r", vmin=-most, vmax=most)
    figure.suptitle("weights from pixels to hidden units: red positive, blue negative", fontsize=10)
    plots.save(figure, out)
