"""A critique in the terminal: one table of rules, one of labels, and a few lines for the rest."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llm_jax.files.page.text import plain

Record = dict[str, Any]
MOST_LABELS = 20


def show(console: Console, record: Record) -> None:
    """Prints everything that fits a terminal; the page has the rest."""
    drawn = f" drawn from {record['found']:,}" if record["found"] > record["documents"] else ""
    empty = f", {record['empty']:,} empty ones left out" if record["empty"] else ""
    words = "at white space" if record["words"] == "spaces" else f"datatrove's for {record['filters_of']}"
    console.print(
        f"[bold]{record['documents']:,} documents{drawn}, {record['tokens']:,} tokens{empty}[/bold]; filters for "
        f"{record['filters_of']}, words {words}"
    )
    console.print(_rules(record))
    ends = "; least, most: of any label, alone" if len(record["labels"]) > 1 else ""
    console.print(f"alone, in order, only this: share of documents; tokens: share, alone{ends}", style="dim")
    console.print()
    chain = record["chain"]
    console.print(
        f"all filters in order remove {_share(chain['removed']['documents'], record['documents'])} of the documents "
        f"and {_share(chain['removed']['tokens'], record['tokens'])} of the tokens; C4 deletes lines with "
        f"{_share(chain['tokens_of_deleted_lines'], record['tokens'])} of the tokens from documents that stay"
    )
    if record["label"]:
        console.print()
        console.print(_labels(record))
    for line in (*_duplicates(record), *_contamination(record), *_training(record)):
        console.print(line)
    console.print()


def _rules(record: Record) -> Table:
    ends = ("least", "most") if len(record["labels"]) > 1 else ()
    table = _table("filter and rule", right=("threshold", "alone", "tokens", "in order", "only this", *ends))
    by_filter: dict[str, list[Record]] = {}
    for rule in record["rules"]:
        by_filter.setdefault(rule["filter"], []).append(rule)
    totals = {one["filter"]: one for one in record["filters"]}
    for name, rules in by_filter.items():
        if name in totals:
            table.add_row(f"[bold]{name}[/bold]", "", *_cells(totals[name], record))
        fired = [rule for rule in rules if rule["alone"]["documents"]]
        for rule in fired:
            beside = "" if rule["chain"] else " (not in the chain)"
            sign = ">" if rule["side"] == "above" else "<"
            table.add_row(f"  {rule['name']}{beside}", f"{sign} {rule['threshold']:g}", *_cells(rule, record))
        if silent := len(rules) - len(fired):
            table.add_row(f"  [dim]{silent} {'rule removes' if silent == 1 else 'rules remove'} nothing[/dim]")
    return table


def _cells(one: Record, record: Record) -> list[str]:
    shares = [row["share"] for row in one["by_label"]]
    in_order, only = (
        "–" if one[name] is None else _share(one[name]["documents"], record["documents"])
        for name in ("in_order", "left_out")
    )
    ends = (f"{min(shares):.1%}", f"{max(shares):.1%}") if len(shares) > 1 else ()
    alone = one["alone"]
    return [
        _share(alone["documents"], record["documents"]),
        _share(alone["tokens"], record["tokens"]),
        in_order,
        only,
        *ends,
    ]


def _labels(record: Record) -> Table:
    """The filters' removals by label, alone, with the interval of the whole chain."""
    names = [one["filter"] for one in record["filters"]]
    table = _table(record["label"], right=("documents", *names, "all", "95 %"))
    rows = record["chain"]["by_label"]
    for at, row in sorted(enumerate(rows), key=lambda one: -one[1]["share"])[:MOST_LABELS]:
        low, high = row["interval"]
        shares = [f"{one['by_label'][at]['share']:.1%}" for one in record["filters"]]
        table.add_row(
            escape(plain(row["label"])) or "(none)",
            f"{row['documents']:,}",
            *shares,
            f"{row['share']:.1%}",
            f"{low:.0%}–{high:.0%}",
        )
    if len(rows) > MOST_LABELS:
        table.add_row(f"[dim]{len(rows) - MOST_LABELS} more on the page[/dim]")
    return table


def _duplicates(record: Record) -> list[str]:
    if not (found := record.get("duplicates")):
        return []
    clusters = sum(count for _, count in found["cluster_sizes"])
    largest = f", the largest of {found['cluster_sizes'][-1][0]:,}" if clusters else ""
    unlike = sum(one < 0.75 for one in found["similarity_with_kept"])
    chained = f"; {unlike:,} of them share less than 75 % with the one that is kept" if clusters else ""
    lines = [
        "",
        f"near-duplicates (MinHash {found['buckets']} × {found['hashes']}): {clusters:,} clusters{largest}; "
        f"{found['removed']['documents']:,} documents removed{chained}",
    ]
    if found["curve"]:
        near = min(found["curve"], key=lambda row: abs(row["similarity"] - 0.75))
        lines.append(
            f"pairs that share {near['similarity']:.0%} are found in {near['measured']:.0%} of {near['pairs']} trials; "
            f"the formula says {near['expected']:.0%}"
        )
    return lines


def _contamination(record: Record) -> list[str]:
    lines = []
    for found in record["contamination"]:
        parts = "; ".join(
            f"{row['words']} words: {row['context']['items']:,} contexts, {row['answer']['items']:,} answers"
            for row in found["lengths"]
        )
        lines += ["", f"{escape(plain(found['benchmark']))}, {found['items']:,} items found by {parts}"]
        for model in found["models"]:
            row = next(
                (one for one in model["splits"] if one["part"] == "either" and one["difference"] is not None), None
            )
            if row:
                lines.append(
                    f"  {escape(plain(model['model']))}, rule {model['rule']}, {row['words']} words: dirty "
                    f"{row['dirty']['accuracy']:.4f} ({row['dirty']['items']:,}), clean "
                    f"{row['clean']['accuracy']:.4f}; difference {row['difference']:+.4f} [{row['interval'][0]:+.4f}, "
                    f"{row['interval'][1]:+.4f}]"
                )
    return lines


def _training(record: Record) -> list[str]:
    if not (found := record.get("training")):
        return []
    lines = [
        "",
        f"bits per byte after {found['tokens']:,} tokens, filtered minus unfiltered (negative: the filter helps):",
    ]
    for row in found["differences"]:
        lines.append(f"  on held-out documents, {row['held_out']}: {row['difference']:+.4f} ± {row['stderr']:.4f}")
    epochs = ", ".join(f"{side['side']} {side['epochs']:.1f}" for side in found["sides"])
    return [*lines, f"  passes over the text: {epochs}"]


def _table(first: str, right: tuple[str, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(first, overflow="ellipsis", no_wrap=True, min_width=14)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "–"
