"""The table of an evaluation, and its plot against tokens seen."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from llm_jax.files import replacing
from serve.evaluation.results import MEANING, Evaluated, Measurement

INK, ACCENTS = "#1f2933", ("#c2410c", "#2563a8", "#3f7d3f", "#8a5a9e", "#8a8f98")


def table(evaluated: Sequence[Evaluated], width: int) -> Table:
    """A row for each metric, a column for each model, the best in bold; if that is too wide, a row for each figure."""
    wide = _column_per_model(evaluated)
    return wide if Console(width=10_000).measure(wide).maximum <= width else _row_per_figure(evaluated)


def _column_per_model(evaluated: Sequence[Evaluated]) -> Table:
    rows = _empty("task", "metric", "items", *(one.name for one in evaluated))
    for task, metric in _rows(evaluated):
        cells = _cells(evaluated, task, metric)
        rows.add_row(task, _titled(metric, cells), _n_items(cells), *_formatted(cells))
    return rows


def _row_per_figure(evaluated: Sequence[Evaluated]) -> Table:
    rows = _empty("task", "metric", "items", "model", "")
    for task, metric in _rows(evaluated):
        cells = _cells(evaluated, task, metric)
        head = (task, _titled(metric, cells), _n_items(cells))
        for one, text in zip(evaluated, _formatted(cells), strict=True):
            rows.add_row(*head, one.name, text)
            head = ("", "", "")
    return rows


def _empty(*columns: str) -> Table:
    rows = Table(title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in columns:
        rows.add_column(name, justify="left" if name in ("task", "metric", "model") else "right", no_wrap=True)
    return rows


def _cells(evaluated: Sequence[Evaluated], task: str, metric: str) -> list[Measurement | None]:
    return [one.tasks.get(task, {}).get(metric) for one in evaluated]


def _titled(metric: str, cells: Sequence[Measurement | None]) -> str:
    better = next((cell.higher_is_better for cell in cells if cell), None)
    return describe(metric) + {True: " ↑", False: " ↓", None: ""}[better]


def _n_items(cells: Sequence[Measurement | None]) -> str:
    return f"{next((cell.n_items for cell in cells if cell), 0):,}"


def _formatted(cells: Sequence[Measurement | None]) -> list[str]:
    best = _best(cells)
    return [f"[bold]{_cell(c)}[/bold]" if i == best else _cell(c) for i, c in enumerate(cells)]


def describe(metric: str) -> str:
    """The harness's name of a metric with its convention: `acc_norm (character)`."""
    return f"{metric} ({MEANING[metric]})" if metric in MEANING else metric


def draw(out: Path, evaluated: Sequence[Evaluated]) -> bool:
    """Plots each metric in a panel, against tokens seen, with error bars of ± one standard error.

    A model whose number of tokens is not known is a horizontal line. With fewer than two models whose number is known,
    nothing is drawn; nor without a metric.

    Returns:
        Whether the plot was drawn.
    """
    with_tokens = sorted((one for one in evaluated if one.tokens is not None), key=lambda one: one.tokens or 0)
    rows = _rows(evaluated)
    if len(with_tokens) < 2 or not rows:
        return False
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import EngFormatter

    columns = min(3, len(rows))
    height = -(-len(rows) // columns)
    figure, panels = plt.subplots(height, columns, figsize=(4.2 * columns, 3.1 * height + 0.3), layout="constrained")
    panels = [panels] if len(rows) == 1 else list(panels.flat)
    for axes, (task, metric) in zip(panels, rows, strict=False):
        for number, source in enumerate(dict.fromkeys(one.source for one in with_tokens)):
            points = [
                (one.tokens, found.value, found.stderr or 0.0)
                for one in with_tokens
                if one.source == source and (found := one.tasks.get(task, {}).get(metric))
            ]
            if points:
                tokens, values, errors = zip(*points, strict=True)
                color = ACCENTS[number % len(ACCENTS)]
                axes.errorbar(
                    tokens, values, errors, fmt="o-", ms=4, lw=1.5, capsize=2, color=color, label=Path(source).name
                )
        for one in evaluated:
            if one.tokens is None and (found := one.tasks.get(task, {}).get(metric)):
                axes.axhline(found.value, ls="--", lw=1, color=INK, alpha=0.6, label=one.name)
        axes.set_title(f"{task}: {describe(metric)}", fontsize=10, color=INK)
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
        axes.set_xlabel("tokens seen", fontsize=9)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(rows) :]:
        axes.set_visible(False)
    lines, labels = panels[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside upper left", ncols=4, frameon=False, fontsize=9, labelcolor=INK)
    with replacing(out) as file:
        figure.savefig(file, dpi=120, format="png")
    plt.close(figure)
    return True


def _rows(evaluated: Sequence[Evaluated]) -> list[tuple[str, str]]:
    return list(
        dict.fromkeys((task, metric) for one in evaluated for task, found in one.tasks.items() for metric in found)
    )


def _best(cells: Sequence[Measurement | None]) -> int | None:
    """Index of the best figure; None for a single figure, or a metric without a direction."""
    found = [(cell.value, i) for i, cell in enumerate(cells) if cell]
    better = next((cell.higher_is_better for cell in cells if cell), None)
    if len(found) < 2 or better is None:
        return None
    return (max if better else min)(found)[1]


def _cell(measurement: Measurement | None) -> str:
    if measurement is None:
        return "—"
    digits = ".4f" if abs(measurement.value) < 100 else ",.1f"
    error = f" ± {measurement.stderr:{digits}}" if measurement.stderr is not None else ""
    return f"{measurement.value:{digits}}{error}"
