"""The tables of `serve agree`."""

from collections.abc import Sequence

from rich.table import Table

from serve.agreement.compare import Pair, TaskPair


def continuations(found: Sequence[Pair]) -> Table:
    """One row a pair: log-probabilities, tokens, and where a difference is excused."""
    table = _table("greedy continuations")
    for name in ("largest Δ log p", "median", "tokens equal", "rows parting", "of them undecided"):
        table.add_column(name, justify="right")
    table.add_column("")
    for pair in found:
        table.add_row(
            f"{pair.a} – {pair.b}",
            f"{pair.largest:.1e}",
            f"{pair.median:.1e}",
            f"{pair.n_equal:,} of {pair.n_tokens:,}",
            str(pair.n_rows - pair.n_rows_equal),
            str(pair.n_excused),
            _verdict(pair.agrees),
        )
    return table


def task(found: Sequence[TaskPair]) -> Table:
    """One row a pair: accuracies and log-likelihoods."""
    table = _table(f"HellaSwag, {found[0].n_items} items, acc_norm (character)")
    for name in ("accuracies", "items apart", "largest Δ log p", "median", ""):
        table.add_column(name, justify="right")
    for pair in found:
        table.add_row(
            f"{pair.a} – {pair.b}",
            f"{pair.accuracy_a:.4f}  {pair.accuracy_b:.4f}",
            str(pair.items_apart),
            f"{pair.largest:.1e}",
            f"{pair.median:.1e}",
            _verdict(pair.agrees),
        )
    return table


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("sides", no_wrap=True)
    return table


def _verdict(agrees: bool) -> str:
    return "[green]agree[/green]" if agrees else "[bold red]apart[/bold red]"
