"""The page's figures, as inline SVG: errors through the model, gradients by parameter, both loss curves."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from train.parity.comparison import ACTIVATIONS, GRADIENTS
from train.parity.report.values import Report
from train.parity.verdict import ROUNDING, SUSPICIOUS

INK, MUTED, OURS, THEIRS, LIMIT = "#1f2933", "#8a8f98", "#1d5fbf", "#c2410c", "#b91c1c"
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: small, sharp, in the page's own font
    "svg.hashsalt": "parity",  # the same report gives the same file
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


def error_through_the_model(report: Report) -> str:
    """Relative error norm of both models after every half block, and the yardstick."""
    rows = [row for row in report.rows if row.section == ACTIVATIONS and row.name != "mean loss"]
    places = np.arange(len(rows))
    with _figure(9.5, 3.8) as (figure, finish):
        axes = figure.subplots()
        yardstick = np.array([row.yardstick / row.reference_norm for row in rows])
        limits = ROUNDING * yardstick, SUSPICIOUS * yardstick
        axes.fill_between(places, *limits, color=LIMIT, alpha=0.08, lw=0, label=f"up to {SUSPICIOUS:g}: suspicious")
        axes.plot(
            places, ROUNDING * yardstick, color=LIMIT, lw=1, alpha=0.7, label=f"{ROUNDING:g} yardsticks: rounding"
        )
        axes.plot(places, yardstick, "--", color=MUTED, lw=1, label="yardstick")
        for label, color, error in _models():
            values = [error(row).norm / row.reference_norm or np.nan for row in rows]
            axes.plot(places, values, "o-", color=color, ms=4, lw=1.3, label=label)
        axes.set_yscale("log")
        axes.set_xticks(places, [_short(row.name) for row in rows], rotation=60, ha="right", fontsize=8)
        axes.set_ylabel("error norm, relative\nto float64")
        axes.legend(ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.0))
        return finish()


def gradients_by_parameter(report: Report) -> str:
    """Error of each parameter's gradient on both sides, in yardsticks, one dot for each block."""
    groups = [group for group in report.groups() if group.section == GRADIENTS]
    with _figure(9.5, 0.8 + 0.26 * len(groups)) as (figure, finish):
        axes = figure.subplots()
        for offset, (label, color, error) in zip((-0.14, 0.14), _models(), strict=True):
            points = [(error(row).yardsticks, y + offset) for y, group in enumerate(groups) for row in group.rows]
            x, y = np.array(points).T
            axes.plot(np.where(x > 0, x, np.nan), y, "o", color=color, ms=4, alpha=0.6, mew=0, label=label)
        _limits(axes)
        axes.set_xscale("log")
        axes.set_yticks(range(len(groups)), [group.name for group in groups], fontsize=9)
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.set_xlabel("error of the gradient, in yardsticks")
        axes.legend(ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
        return finish()


def curves(report: Report) -> str:
    """Both losses over the steps, and the distance of each to float64."""
    curve = report.curve
    steps = np.arange(1, len(curve.ours) + 1)
    with _figure(9.5, 3.6) as (figure, finish):
        losses, distances = figure.subplots(1, 2)
        losses.plot(steps, curve.theirs, color=THEIRS, lw=3, alpha=0.45, label="PyTorch")
        losses.plot(steps, curve.ours, color=OURS, lw=1.2, label="ours")
        losses.set(xlabel="step", ylabel="loss (nats per token)")
        losses.legend()

        def relative(x: np.ndarray) -> np.ndarray:
            return np.where(x > 0, x, np.nan) / np.abs(curve.reference)

        distances.plot(steps, relative(ROUNDING * curve.yardstick), color=LIMIT, lw=1, label=f"{ROUNDING:g} yardsticks")
        for label, color, side in (("ours", OURS, curve.ours), ("PyTorch", THEIRS, curve.theirs)):
            distances.plot(steps, relative(np.abs(side - curve.reference)), color=color, lw=1, label=label)
        distances.set_yscale("log")
        for axes in (losses, distances):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        distances.set(xlabel="step", ylabel="distance to float64, relative")
        distances.legend()
        return finish()


def _models() -> Iterator[tuple[str, str, Callable]]:
    yield "ours", OURS, lambda row: row.ours
    yield "PyTorch", THEIRS, lambda row: row.theirs


def _limits(axes: Axes) -> None:
    for limit, name in ((ROUNDING, "rounding"), (SUSPICIOUS, "suspicious")):
        axes.axvline(limit, color=LIMIT, lw=1, alpha=0.7)
        axes.annotate(
            f"{name} ≤ {limit:g}", (limit, 0), (-3, 3), ("data", "axes fraction"), "offset points", ha="right",
            color=LIMIT, fontsize=8, rotation=90,
        )  # fmt: skip


def _short(name: str) -> str:
    return name.replace("block ", "").replace(", after", "")


@contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Figure, Callable[[], str]]]:
    """Yields a figure (size in inches) in the page's style and a function that returns it as an <svg> element."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")

        def finish() -> str:
            file = io.StringIO()
            figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
            text = file.getvalue()
            return text[text.index("<svg") :]

        yield figure, finish
