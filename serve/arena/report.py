"""The arena in the terminal: the ranking, and the findings about it."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llm_jax.files.page.text import plain

LISTED = 60  # rows in the terminal; the JSON file and the page have all


def show(console: Console, record: dict[str, Any], confidence: float) -> None:
    """Prints the table and a line for each finding."""
    percent = f"{confidence:.0%}"
    console.print(
        f"{record['votes']:,} votes, {record['models']:,} models, {record['ties']:.1%} ties"
        + (f", {record['clusters']:,} clusters" if record["clusters"] else "")
    )
    console.print(_table(record, confidence))
    if (more := len(record["table"]) - LISTED) > 0:
        console.print(f"… and {more:,} more models in the files")
    for line in _findings(record, percent):
        console.print(line, soft_wrap=False)


def _table(record: dict[str, Any], confidence: float) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("model", overflow="ellipsis", no_wrap=True, min_width=12)
    for name in ("rating", "interval", "Elo", "shuffled", "win rate", "votes"):
        table.add_column(name, justify="right", no_wrap=True)
    for number, row in enumerate(record["table"][:LISTED], 1):
        within, scores = row["intervals"][f"{confidence}"], row["scores"]
        ranks = within["rank"]
        table.add_row(
            f"{number} ({ranks[0]}–{ranks[1]})" if ranks else f"{number}",
            _name(row["model"]),
            f"{scores['bradley-terry']:.0f}",
            _interval(*within["rating"]),
            f"{scores['elo']:.1f}",
            f"{scores['elo shuffled']:.1f} ± {scores['elo shuffled sd']:.1f}",
            f"{scores['win rate']:.3f}",
            f"{row['votes']:,}",
        )
    return table


def _findings(record: dict[str, Any], percent: str) -> list[str]:
    lines = [
        "",
        f"rating: Bradley–Terry, a tie as half a win, mean 1000, 400 points = odds of 10 to 1; brackets: {percent} "
        "intervals of the bootstrap",
    ]
    if record["probability_of_order"] is not None:
        lines.append(f"the printed order is right in {record['probability_of_order']:.1%} of the bootstraps")
    if record["open_models"]:
        lines.append(
            "some models win against all others they met, or lose: their strength has no finite maximum; a weak prior "
            "(0.01 θ²/2) holds it, so their intervals are open, they have no ranks, and the order has no probability"
        )
    if (groups := record["groups_without_votes_between"]) > 1:
        lines.append(
            f"{groups} groups of models have no votes between them: only ranks inside a group mean anything, and the "
            "order has no probability"
        )
    if left := record["left_wins"]:
        lines.append(
            f"the left answer wins {left['share']:.1%} of {left['n']:,} decided votes "
            f"({left['low']:.1%} to {left['high']:.1%}), p = {left['p_value']:.2g}"
        )
    for effect in record["effects"]:
        lines.append(
            f"effect of {_name(effect['name'])}: {effect['value']:+.3f} ± {effect['stderr']:.3f} log-odds, models held "
            f"fixed, p = {effect['p_value']:.2g}"
        )
    circles = record["circles"]
    lines.append(
        f"circles: {circles['circular']:,} of {circles['triples']:,} triples with three majorities; chance alone would "
        f"make {circles['expected']:,.0f}"
    )
    for a, b, c, margin in circles["strongest"][:3]:
        lines.append(f"  {_name(a)} > {_name(b)} > {_name(c)} > {_name(a)}, each by {margin} votes or more")
    for pair in record["adjacent"][:5]:
        there = f"{pair['votes_between']:,}"
        if not pair["finite_difference"]:
            said = f"no finite difference; votes between them: {there}"
        else:
            needed = "no number of votes" if pair["votes_needed"] is None else f"{pair['votes_needed']:,} votes"
            said = f"{needed} between them tell them apart (80 % power), {there} are there"
        lines.append(f"  {_name(pair['better'])} against {_name(pair['worse'])}: {said}")
    return lines


def _interval(low: float | None, high: float | None) -> str:
    if low is None:
        return "open" if high is None else f"≤ {high:.0f}"
    return f"≥ {low:.0f}" if high is None else f"{low:.0f}–{high:.0f}"


def _name(text: str) -> str:
    return escape(plain(text))
