"""The answer of `serve gpu`: tables for the terminal, JSON, and a plot of cost against latency."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_jax.files import replacing
from serve.gpu.choice import Choice, Refusal

if TYPE_CHECKING:
    from rich.table import Table

    from llm_jax.hardware.prices import Price


def tables(found: Sequence[Choice | Refusal]) -> "list[Table]":
    """Those that serve the model, and a line for each that does not."""
    from rich.table import Table

    choices = [one for one in found if isinstance(one, Choice)]
    table = Table(
        box=None,
        padding=(0, 2, 0, 0),
        header_style="dim",
        caption="tok/s: all users are answered at once. Waits: requests come at nine tenths of that rate, so fewer are "
        "answered at once.",
        caption_justify="left",
    )
    for name in ("", "×", "weights, GB", "cache, tokens", "tok/s a user", "tok/s", "first token, s", "ms a token",
                 "$ an hour", "$ a million", "kWh a million"):  # fmt: skip
        table.add_column(name, justify="left" if not name else "right", no_wrap=True)
    for one in choices:
        energy = one.kilowatt_hours_per_million
        table.add_row(
            one.accelerator,
            str(one.devices),
            f"{one.memory.weights / 1e9:.1f}",
            f"{one.memory.tokens:,}",
            f"{one.user_tokens_per_second:,.0f}",
            f"{one.tokens_per_second:,.0f}",
            f"{one.waits.first_token[0]:.2f} ({one.waits.first_token[2]:.2f})",
            f"{1e3 * one.waits.per_token[0]:.0f} ({1e3 * one.waits.per_token[2]:.0f})",
            _range(one.price),
            "–" if one.price is None else f"{one.dollars_per_million():.2f}–{one.dollars_per_million('high'):.2f}",
            "–" if energy is None else f"{energy:.2f}",
        )
    refused = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    refused.add_column("not", no_wrap=True)
    refused.add_column("because")
    for one in found:
        if isinstance(one, Refusal):
            refused.add_row(one.accelerator, one.reason)
    return [part for part in (table, refused) if part.row_count]


def _range(price: "Price | None") -> str:
    if price is None:
        return "–"
    return f"{price.low:.2f}" if price.low == price.high else f"{price.low:.2f}–{price.high:.2f}"


def record(found: Sequence[Choice | Refusal]) -> list[dict[str, Any]]:
    """The same as JSON values."""
    return [
        asdict(one)
        | (
            {
                "dollars_per_million": [one.dollars_per_million(at) for at in ("low", "high")],
                "kilowatt_hours_per_million": one.kilowatt_hours_per_million,
            }
            if isinstance(one, Choice)
            else {}
        )
        for one in found
    ]


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the points that no other one beats in both coordinates; lower is better."""
    return [i for i, (x, y) in enumerate(points) if not any(a <= x and b <= y and (a, b) != (x, y) for a, b in points)]


def plot(found: Sequence[Choice | Refusal], path: Path, title: str) -> bool:
    """Dollars a million tokens against milliseconds a token; returns whether there was anything to draw."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    priced = [one for one in found if isinstance(one, Choice) and one.price]
    if not priced:
        return False
    points = [(one.dollars_per_million() or 0.0, 1e3 / one.user_tokens_per_second) for one in priced]
    front = sorted(points[i] for i in pareto(points))
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot(*zip(*front, strict=True), "-", color="0.7", zorder=1, label="nothing is cheaper and faster")
    for one, (x, y) in zip(priced, points, strict=True):
        high = one.dollars_per_million("high") or x
        axes.plot([x, high], [y, y], "-", color="C0", alpha=0.4, linewidth=2)
        axes.plot(x, y, "o", color="C0")
        axes.annotate(
            f"{one.devices} × {one.accelerator}", (x, y), textcoords="offset points", xytext=(5, 5), fontsize=8
        )
    axes.set(xscale="log", yscale="log", xlabel="dollars a million tokens, from the lowest price to the highest",
             ylabel="milliseconds a token of one user", title=title)  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):  # 0.02 instead of 2 × 10⁻²
        for set_formatter in (axis.set_major_formatter, axis.set_minor_formatter):
            set_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_tick_params(which="minor", labelsize=7)
    axes.margins(x=0.15, y=0.1)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)
    with replacing(path) as file:
        figure.savefig(file, dpi=120, format="png")
    return True
