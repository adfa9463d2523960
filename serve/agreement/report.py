"""The tables of `serve agree`, and its JSON file."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from llm_jax.files.json_files import write_json
from serve.agreement.compare import Pair, TaskPair


def continuations(pairs: Sequence[Pair]) -> Table:
    """One row for each pair: differences of log-probabilities, equal tokens, rows that differ, and excused ones."""
    table = _table(
        f"greedy continuations of {pairs[0].n_rows:,} prompts, {pairs[0].n_tokens:,} tokens; differences of "
        "log-probabilities in nats",
        *("largest", "median", "equal tokens", "rows that differ", "undecided", ""),
    )
    for pair in pairs:
        table.add_row(
            f"{pair.a} – {pair.b}",
            f"{pair.largest:.1e}",
            f"{pair.median:.1e}",
            f"{pair.n_equal:,}",
            str(pair.n_rows - pair.n_rows_equal),
            str(pair.n_excused),
            _verdict(pair.agrees),
        )
    return table


def task(pairs: Sequence[TaskPair]) -> Table:
    """One row for each pair: differences of log-likelihoods, and accuracies."""
    table = _table(
        f"HellaSwag, {pairs[0].n_items:,} items, acc_norm (character); differences of log-likelihoods in nats",
        *("largest", "median", "accuracies", "items apart", ""),
    )
    for pair in pairs:
        table.add_row(
            f"{pair.a} – {pair.b}",
            f"{pair.largest:.1e}",
            f"{pair.median:.1e}",
            f"{pair.accuracy_a:.4f} {pair.accuracy_b:.4f}",
            str(pair.items_apart),
            _verdict(pair.agrees),
        )
    return table


def _table(title: str, *columns: str) -> Table:
    """A table that fits into 80 columns: long headings have two lines."""
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("models", no_wrap=True)
    for name in columns:
        words = name.split()
        middle = (len(words) + 1) // 2
        heading = "\n".join(" ".join(part) for part in (words[:middle], words[middle:]) if part)
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _verdict(agrees: bool) -> str:
    return "[green]agree[/green]" if agrees else "[bold red]differ[/bold red]"


def write(out: Path, name: str, pairs: Sequence[Pair], tasks: Sequence[TaskPair], is_agreed: bool) -> None:
    """Writes all figures of the model `name` as JSON."""

    def record(pair: Pair | TaskPair) -> dict[str, Any]:
        finite = {name: None if value != value else value for name, value in asdict(pair).items()}  # JSON has no NaN
        return {**finite, "agrees": pair.agrees}

    content = {
        "model": name,
        "agrees": is_agreed,
        "continuations": [record(pair) for pair in pairs],
        "hellaswag": [record(pair) for pair in tasks],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, content)
