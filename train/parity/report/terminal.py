"""The report as a table in the terminal: one line for all rows of a kind, with the figures of the worst."""

import shutil

from rich.console import Console
from rich.table import Table
from rich.text import Text

from train.parity.report.values import Report
from train.parity.verdict import Verdict

STYLES: dict[Verdict, str] = {"equal": "green", "rounding": "green", "suspicious": "yellow", "wrong": "bold red"}
WIDTH = 140  # columns, where the output goes to a file or a log
REMARKS_BESIDE, ALL_FIGURES = 132, 100  # columns that the terminal must have to show these

LEGEND = (
    "[dim]difference: ours to theirs, largest element, absolute and relative to max(|element|, root mean square) · "
    "ulp: each side to PyTorch in float64, largest element, in units in the last place · yardsticks: norm of each "
    "side's error divided by what rounding explains; ≤ 3 rounding, ≤ 30 suspicious, above wrong[/dim]"
)


def show(report: Report) -> None:
    """Prints the table, the promises and the conclusion."""
    width = None if shutil.get_terminal_size((0, 0)).columns else WIDTH
    console = Console(width=width, soft_wrap=False, highlight=False)
    console.print(_table(report, console.width))
    if console.width < REMARKS_BESIDE:
        for group in report.groups():
            if group.worst.note:
                console.print(Text(f" {group.section}, {group.name}: {group.worst.note}", style="dim"))
    console.print(LEGEND)
    if report.promises:
        console.print(_promises(report))
    console.print(Text(report.conclusion(), style="bold green" if report.passed else "bold red"))


def _table(report: Report, width: int) -> Table:
    """The table. On a narrow terminal `show` prints the remarks below it, and the page alone has some figures."""
    all_figures, remarks_beside = width >= ALL_FIGURES, width >= REMARKS_BESIDE
    setup = report.setup
    table = Table(
        title=f"JAX and PyTorch, {setup['model']}, {setup['dtype']} on {setup['device']}",
        title_justify="left",
        title_style="bold",
        box=None,
        padding=(0, 1),
        header_style="dim",
    )
    table.add_column("", no_wrap=True)
    table.add_column("difference", justify="right")
    if all_figures:
        table.add_column("relative", justify="right")
        table.add_column("ulp\nours", justify="right")
        table.add_column("\ntheirs", justify="right")
    table.add_column("yardsticks\nours", justify="right")
    table.add_column("\ntheirs", justify="right")
    table.add_column("verdict")
    if remarks_beside:
        table.add_column("", style="dim")
    section = ""
    for group in report.groups():
        if group.section != section:
            table.add_row(Text(group.section, style="bold"))
            section = group.section
        row = group.worst
        figures = [row.largest_absolute]
        if all_figures:
            figures += [row.largest_relative, row.ours.ulps, row.theirs.ulps]
        figures += [row.ours.yardsticks, row.theirs.yardsticks]
        remarks = ["; ".join(part for part in (group.where, row.note) if part)] if remarks_beside else []
        verdict = Text(row.verdict, style=STYLES[row.verdict])
        table.add_row(f"  {group.name}", *map(number, figures), verdict, *remarks)
    return table


def _promises(report: Report) -> Table:
    table = Table(title="promises", title_justify="left", title_style="bold", box=None, padding=(0, 1))
    table.add_column("", no_wrap=True)
    table.add_column("bound", justify="right", header_style="dim")
    table.add_column("measured", justify="right", header_style="dim")
    table.add_column("")
    for promise in report.promises:
        word = Text("held", style="green") if promise.held else Text("broken", style="bold red")
        table.add_row(f"  {promise.text}", number(promise.bound), number(promise.measured), word)
    return table


def number(value: float | None) -> str:
    """Two significant digits; a dash where there is no such number."""
    if value is None:
        return "–"
    if value == 0 or 0.01 <= abs(value) < 9950:
        return f"{value:.2g}" if abs(value) < 99.5 else f"{value:.0f}"
    return f"{value:.1e}"
