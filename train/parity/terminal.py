"""The comparison as a table in the terminal: rows of a kind in one line, the worst of them standing for all."""

import shutil

from rich.console import Console
from rich.table import Table
from rich.text import Text

from train.parity.report import Group, Report
from train.parity.verdict import Verdict

STYLES: dict[Verdict, str] = {"equal": "green", "rounding": "green", "suspicious": "yellow", "wrong": "bold red"}
WIDTH = 140  # where nobody sees the edge of the terminal: a file or a log

LEGEND = (
    "[dim]difference: ours to theirs, largest element, absolute and relative to max(|element|, root mean square) · "
    "ulp: each side to PyTorch in float64, largest element, in units in the last place · yardsticks: error norm of "
    "each side over what rounding explains there; ≤ 3 rounding, ≤ 30 suspicious, above wrong[/dim]"
)


def show(report: Report) -> None:
    """Prints the table, the promises and the conclusion."""
    width = None if shutil.get_terminal_size((0, 0)).columns else WIDTH
    console = Console(width=width, soft_wrap=False, highlight=False)
    console.print(_table(report))
    console.print(LEGEND)
    if report.promises:
        console.print(_promises(report))
    console.print(Text(report.conclusion(), style="bold green" if report.passed else "bold red"))


def _table(report: Report) -> Table:
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
    table.add_column("relative", justify="right")
    table.add_column("ulp\nours", justify="right")
    table.add_column("\ntheirs", justify="right")
    table.add_column("yardsticks\nours", justify="right")
    table.add_column("\ntheirs", justify="right")
    table.add_column("verdict")
    table.add_column("", style="dim")
    section = ""
    for group in report.groups():
        if group.section != section:
            table.add_row(Text(group.section, style="bold"))
            section = group.section
        table.add_row(*_cells(group))
    return table


def _cells(group: Group) -> tuple[str | Text, ...]:
    row = group.worst
    where = "; ".join(part for part in (group.where, row.note) if part)
    return (
        f"  {group.name}",
        number(row.largest_absolute),
        number(row.largest_relative),
        number(row.ours.ulps),
        number(row.theirs.ulps),
        number(row.ours.yardsticks),
        number(row.theirs.yardsticks),
        Text(row.verdict, style=STYLES[row.verdict]),
        where,
    )


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
