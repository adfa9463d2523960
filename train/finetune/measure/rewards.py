"""`rewards.png` of a run of preferences: how far chosen and rejected answers move apart, and how often rightly."""

from pathlib import Path
from typing import Any

import numpy as np

from llm_jax.runs import REWARDS
from train.record import plots

CHOSEN, REJECTED = "#117733", "#8a4fbf"


def draw_rewards(folder: Path, lines: list[dict[str, Any]]) -> None:
    """Rewards and margins above, accuracy below, over steps: training smoothed, held-out pairs as points."""
    figure, (above, below) = plots.pyplot().subplots(
        2, 1, figsize=(8, 6.5), height_ratios=(2, 1), sharex=True, layout="constrained"
    )
    for name, label, color in (
        ("reward_margin", "margin", plots.VAL),
        ("reward_chosen", "chosen", CHOSEN),
        ("reward_rejected", "rejected", REJECTED),
    ):
        _draw(above, lines, name, label, color)
    _draw(below, lines, "reward_accuracy", "accuracy", plots.VAL)
    above.set(title=folder.name, ylabel="reward (β × nats)")
    above.axhline(0, color=plots.REFERENCE, lw=0.8)
    below.set(xlabel="step", ylabel="chosen above rejected", ylim=(0, 1.03))
    for axes in (above, below):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, labelcolor=plots.INK, fontsize=8)
    plots.save(figure, folder / REWARDS)


def _draw(axes: Any, lines: list[dict[str, Any]], name: str, label: str, color: str) -> None:
    trained, held_out = _points(lines, name), _points(lines, f"val_{name}")
    if len(trained):
        axes.plot(
            trained[:, 0], plots.smooth(trained[:, 1]), color=color, lw=1.2, alpha=0.5, label=f"{label}, training"
        )
    if len(held_out):
        said = f"{label}, held out: {held_out[-1, 1]:.3f} at the end"
        axes.plot(held_out[:, 0], held_out[:, 1], "o-", color=color, ms=4, lw=1.5, label=said)


def _points(lines: list[dict[str, Any]], name: str) -> np.ndarray:
    """(step, value) of every line that has it."""
    return np.array([(line["step"], line[name]) for line in lines if line.get(name) is not None], float).reshape(-1, 2)
