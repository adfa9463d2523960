"""The comparison of two curves as a table, a sentence and a plot."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from rich.table import Table

from llm_jax.files import replacing
from train.record.compare.bands import STANDARD_ERRORS, Band, Bands, Curve

LINES = 10  # of the table
A, B, GREY, RED = "#1d5fbf", "#c2410c", "#8a8f98", "#b91c1c"


def table(a: Curve, b: Curve, comparison: Bands) -> Table:
    """Smoothed training losses at ten points, and the last validation loss that both curves cover."""
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for heading in ("tokens", a.name, b.name, "difference", "band", ""):
        table.add_column(heading, justify="right" if heading else "left", overflow="fold")
    for i in np.linspace(0, len(comparison.points) - 1, LINES).round().astype(int):
        difference, limit = comparison.difference[i], comparison.limit[i]
        table.add_row(
            f"{comparison.points[i]:,.0f}",
            f"{comparison.a.loss[i]:.4f}",
            f"{comparison.b.loss[i]:.4f}",
            f"{difference:+.4f}",
            f"±{limit:.4f}",
            "[green]within[/green]" if abs(difference) <= limit else "[red]outside[/red]",
        )
    common = [t for t in a.val_tokens if len(b.val_tokens) and b.val_tokens[0] <= t <= b.val_tokens[-1]]
    for tokens in common[-1:]:
        at_a, at_b = (float(np.interp(tokens, c.val_tokens, c.val_losses)) for c in (a, b))
        table.add_row(f"{tokens:,.0f}", f"{at_a:.4f}", f"{at_b:.4f}", f"{at_a - at_b:+.4f}", "", "validation")
    return table


def not_finite(curve: Curve) -> str:
    """A sentence about the steps without a finite loss."""
    return f"{curve.name}: {curve.n_not_finite:,} of {len(curve.losses):,} steps have no finite loss; they are left out"


def verdict(a: Curve, b: Curve, comparison: Bands, ranges: list[tuple[float, float]]) -> str:
    """One sentence: whether the curves differ, and for the first of the `ranges` where, by how much and how long."""
    last = comparison.points[-1]
    if not ranges:
        return f"{a.name} and {b.name} stay within each other's band up to {last:,.0f} tokens"
    first, end = ranges[0]
    middle = np.searchsorted(comparison.points, (first + end) / 2)
    if np.isnan(comparison.difference[middle]):
        diverged = a if np.isnan(comparison.a.loss[middle]) else b
        return f"{diverged.name} has no finite loss around {comparison.points[middle]:,.0f} tokens: it diverged there"
    higher = "above" if comparison.difference[middle] > 0 else "below"
    text = (
        f"{a.name} leaves the band of {b.name} at {first:,.0f} tokens: around {comparison.points[middle]:,.0f} it is "
        f"{abs(comparison.difference[middle]):.4f} {higher}, where ±{comparison.limit[middle]:.4f} would be noise"
    )
    if end < last - comparison.window:  # closer to the end the bands are wide
        text += f"; they agree again from {end:,.0f}"
    if len(ranges) > 1:
        text += f", and differ {len(ranges) - 1} more time{'s' if len(ranges) > 2 else ''}"
    return text


def draw(out: Path, a: Curve, b: Curve, comparison: Bands) -> None:
    """Plots both curves with their bands (above), and their difference with its limit (below), to a PNG file."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    points = comparison.points
    for curve, band, color in ((a, comparison.a, A), (b, comparison.b, B)):
        upper.plot(points, band.loss, color=color, lw=1.6, label=curve.name)
        upper.fill_between(points, *_edges(band), color=color, alpha=0.2, lw=0)
        seen = (curve.val_tokens >= points[0]) & (curve.val_tokens <= points[-1])
        if seen.any():
            upper.plot(curve.val_tokens[seen], curve.val_losses[seen], "o", color=color, ms=4, mfc="none")
    lower.axhline(0, color=GREY, lw=1)
    lower.fill_between(points, -comparison.limit, comparison.limit, color=GREY, alpha=0.2, lw=0)
    lower.plot(points, comparison.difference, color="#1f2933", lw=1.2)
    for first, last in comparison.differing_ranges():
        lower.axvspan(first, last, color=RED, alpha=0.12, lw=0)
    upper.set(ylabel="loss (nats per token)")
    lower.set(xlabel="tokens seen", ylabel=f"{a.name}\nminus {b.name}")
    lower.xaxis.set_major_formatter(EngFormatter(sep=" "))
    for axes in (upper, lower):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    upper.legend(frameon=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as file:
        figure.savefig(file, format="png", dpi=120)


def _edges(band: Band) -> tuple[np.ndarray, np.ndarray]:
    return band.loss - STANDARD_ERRORS * band.error, band.loss + STANDARD_ERRORS * band.error
