"""The tables of a run, for a terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table

Record = dict[str, Any]


def show(console: Console, record: Record) -> None:
    """One table a test, and one of the ways."""
    for name, test in record["tests"].items():
        if test["ways"]:
            console.print(_accuracy(name, test, record["seeds"]))
    if "zero_shot" in record:
        console.print(_names(record["zero_shot"]))
    table = Table(title="the ways: parameters, compute and time", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("way", "parameters", "10¹² operations", "steps", "seconds, all seeds"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for name, way in record["ways"].items():
        steps = " + ".join(str(stage["steps"]) for stage in way["stages"])
        parameters, operations = sum(way["parameters"].values()), way["flops"] / 1e12
        table.add_row(name, f"{parameters:,}", f"{operations:.2f}", steps, f"{way['seconds']:.0f}")
    console.print(table)


def _accuracy(name: str, test: Record, seeds: int) -> Table:
    kinds = list(next(iter(test["controls"].values())))
    said = f"{name}: right answers in %, {test['questions']:,} questions"
    said += f", mean ± half of the 95 % interval over {seeds} seeds" if seeds > 1 else ""
    table = Table(title=said, title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    for kind in kinds:
        table.add_column(kind, justify="right", no_wrap=True)
    for control, values in test["controls"].items():
        table.add_row(control, *(f"{100 * values[kind]:.1f}" for kind in kinds), style="dim")
    for way, found in test["ways"].items():
        style = "dim" if way.endswith("shuffled") else None
        table.add_row(way, *(_figure(found["summary"][kind]) for kind in kinds), style=style)
    return table


def _names(found: Record) -> Table:
    """Contrastive training: words found by comparing."""
    title = "contrastive: words found, in % (1: colour)"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("", *found["chance"]):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("chance", *(f"{100 * value:.1f}" for value in found["chance"].values()), style="dim")
    for test, measured in found.items():
        if test != "chance":
            table.add_row(test, *(_figure(measured["summary"][name]) for name in found["chance"]))
    return table


def _figure(value: dict[str, float | None]) -> str:
    mean, half = value["mean"], value["interval"]
    assert mean is not None
    return f"{100 * mean:.1f}" if half is None else f"{100 * mean:.1f} ± {100 * half:.1f}"
