"""The results of a benchmark as tables and a plot."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llm_jax.files import replacing

if TYPE_CHECKING:
    from rich.table import Table

    from serve.bench.decoder import Bound, Decoded
    from serve.bench.load_test import Level


def tables(measured: "Sequence[Level]", decoder: "Sequence[Decoded]", bound: "Bound | None") -> "list[Table]":
    """The server's table, with a line for each number of clients; a second one with decoder and bound, if measured."""
    server = _table("server, milliseconds: median (99th percentile)", "requests", "TTFT", "TPOT", "ITL", "tokens/s")
    for level in measured:
        times = [f"{median:,.1f} ({high:,.1f})" for median, high in (level.ttft, level.tpot, level.itl)]
        requests = f"{level.completed}" + (f", {level.failed} failed" if level.failed else "")
        server.add_row(str(level.clients), requests, *times, f"{level.tokens_per_second:,.0f}")
    if not (decoder and bound):
        return [server]
    comparison = _table(
        "tokens/s of server, JAX decoder and bound", "server", "decoder", "bound", "decoder's TTFT", "TPOT"
    )
    for level, decoded in zip(measured, decoder, strict=True):
        speeds = (level.tokens_per_second, decoded.tokens_per_second, bound.tokens_per_second(level.clients))
        times = (f"{decoded.ttft:,.1f}", f"{decoded.tpot:,.2f}")
        comparison.add_row(str(level.clients), *(f"{x:,.0f}" for x in speeds), *times)
    return [server, comparison]


def _table(title: str, *columns: str) -> "Table":
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("clients", *columns):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def plot(
    measured: "Sequence[Level]", decoder: "Sequence[Decoded]", bound: "Bound | None", path: Path, name: str
) -> None:
    """Plots throughput and latency against the number of clients, to a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    clients = [level.clients for level in measured]
    left.plot(clients, [level.tokens_per_second for level in measured], "o-", label="server")
    if decoder:
        left.plot(clients, [decoded.tokens_per_second for decoded in decoder], "s--", label="JAX decoder")
    if bound:
        left.plot(clients, [bound.tokens_per_second(n) for n in clients], "k:", label="roofline bound")
    left.set(ylabel="new tokens per second", yscale="log", title=f"throughput of {name}")
    for label in ("ttft", "tpot", "itl"):
        values = [getattr(level, label) for level in measured]
        (line,) = right.plot(clients, [median for median, _ in values], "o-", label=label.upper())
        right.plot(clients, [high for _, high in values], ":", color=line.get_color())
    right.set(ylabel="milliseconds", yscale="log", title="latency: median, and dotted the 99th percentile")
    for axes in (left, right):
        axes.set(xlabel="clients at once", xscale="log", xticks=clients, xticklabels=list(map(str, clients)))
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    with replacing(path) as file:
        figure.savefig(file, dpi=120, format="png")
