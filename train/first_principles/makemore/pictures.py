"""What the diagnostics look like: `diagnostics.png`.

The histograms and the update ratios are those of Karpathy's third makemore lecture ("Activations & Gradients").
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from llm_jax.files import replacing
from train.first_principles.makemore.diagnostics import SATURATED, Inside, dead_units, saturation, squashed

COLORS = ("#1d5fbf", "#c2410c", "#15803d", "#7c3aed", "#8a8f98", "#b45309", "#0e7490", "#be185d")
INK, GREY = "#1f2933", "#8a8f98"
SHOWN_EXAMPLES = 64
RULE_OF_THUMB = -3.0  # log10 of update / parameter: where a learning rate is usually about right


def draw_inside(
    out: Path,
    moments: list[tuple[str, Inside]],
    ratios: dict[str, np.ndarray],
    steps: np.ndarray,
    losses: np.ndarray,
    vocab_size: int,
) -> None:
    """One row of pictures for each look inside (title, what was seen), and one over time.

    Args:
        ratios: by parameter, std of the update over std of the parameter, at each of `steps`.
        losses: training losses around `steps`.
    """
    figure = Figure(figsize=(13, 3.4 * (len(moments) + 1)), layout="constrained")
    rows: Any = figure.subfigures(len(moments) + 1, 1)
    for row, (title, inside) in zip(rows[:-1], moments, strict=True):
        row.suptitle(title, x=0.01, ha="left", fontweight="bold", color=INK)
        is_squashed = bool(squashed(inside))
        axes = row.subplots(1, 3 if is_squashed else 2)
        draw_histograms(axes[0], inside.activations, "activation", is_log=False)
        draw_histograms(axes[1], inside.gradients, "∂loss/∂activation", is_log=True)
        if is_squashed:
            draw_saturated(axes[2], squashed(inside))
    rows[-1].suptitle("over time", x=0.01, ha="left", fontweight="bold", color=INK)
    left, right = rows[-1].subplots(1, 2)
    draw_ratios(left, ratios, steps)
    draw_start(right, moments[0][1].loss, steps, losses, vocab_size)
    with replacing(out) as file:
        figure.savefig(file, format="png", dpi=110)


def draw_histograms(axes: Axes, values: dict[str, np.ndarray], label: str, is_log: bool) -> None:
    """Densities, one line a layer; a gap where there is nothing."""
    for color, (name, array) in zip(COLORS, values.items(), strict=False):
        density, edges = np.histogram(array, bins=60, density=True)
        density[density == 0] = np.nan
        axes.plot((edges[:-1] + edges[1:]) / 2, density, color=color, lw=1.4, label=f"{name}: σ {array.std():.2g}")
    axes.set(xlabel=label, ylabel="density", yscale="log" if is_log else "linear")
    axes.ticklabel_format(axis="x", scilimits=(-2, 3))
    _finish(axes)


def draw_saturated(axes: Axes, activations: dict[str, np.ndarray]) -> None:
    """White where a unit (column) is saturated for an example (row): a white column is a dead unit. First layer."""
    name, first = next(iter(activations.items()))
    flat = first.reshape(-1, first.shape[-1])
    axes.imshow(np.abs(flat[:SHOWN_EXAMPLES]) > SATURATED, cmap="gray", aspect="auto", interpolation="nearest")
    axes.set(xlabel=f"unit of {name}", ylabel="example")
    axes.set_title(
        f"|activation| > {SATURATED} (white): {saturation(flat):.1%}; {dead_units(flat)} of {flat.shape[-1]} dead",
        fontsize=9,
    )


def draw_ratios(axes: Axes, ratios: dict[str, np.ndarray], steps: np.ndarray) -> None:
    """log10 of update / parameter. At −3 a parameter moves by a thousandth of its size in a step."""
    for color, (name, values) in zip(COLORS, ratios.items(), strict=False):
        axes.plot(steps, np.log10(values + 1e-12), color=color, lw=1.2, label=name)
    axes.axhline(RULE_OF_THUMB, color=INK, lw=0.8, ls="--")
    axes.set(xlabel="step", ylabel="log₁₀ (σ of update / σ of parameter)", ylim=(-6.5, 0.5))
    _finish(axes)


def draw_start(axes: Axes, start: float, steps: np.ndarray, losses: np.ndarray, vocab_size: int) -> None:
    """The loss from initialisation on, over the logarithm of the steps, against the loss of guessing."""
    guess = math.log(vocab_size)
    axes.plot([1, *steps], [start, *losses], color=COLORS[0], lw=1.4, label="training")
    axes.plot([1], [start], "o", color=COLORS[1], label=f"at initialisation: {start:.3f}")
    axes.axhline(guess, color=INK, lw=0.8, ls="--", label=f"guessing, ln {vocab_size}: {guess:.3f}")
    axes.set(xlabel="step", ylabel="loss (nats per character)", xscale="log")
    _finish(axes)


def _finish(axes: Axes) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)
