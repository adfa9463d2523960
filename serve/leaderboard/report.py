"""A leaderboard in the terminal: the ranking with its errors, and a line for each finding about it."""

import itertools
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llm_jax.files.page.text import plain

Record = dict[str, Any]


def show(console: Console, record: Record, rule: str | None, prompt: str | None, subset: str | None) -> None:
    """Prints every task. Raises ValueError for a rule, prompt or subset that no task has."""
    confidence = record["settings"]["confidence"]
    for task in record["tasks"]:
        board = _chosen(task, rule, prompt, subset)
        groups = f", {task['groups']:,} groups" if task["groups"] else ""
        title = f"{task['task']}: {board['items']:,} items{groups}, {board['subset']}"
        prompt_shown = f", prompt {board['prompt']}" if board["prompt"] else ""
        console.print(f"[bold]{_name(title)}{_name(prompt_shown)}, rule {board['rule']}[/bold]")
        console.print(_table(board, confidence))
        if neighbours := _neighbours(task, board):
            console.print()
            console.print(neighbours)
        console.print()
        for line in _findings(task, board):
            console.print(line)
        console.print()


def _chosen(task: Record, rule: str | None, prompt: str | None, subset: str | None) -> Record:
    wanted = {"rule": rule, "prompt": prompt, "subset": subset}
    key = task["main"] | {name: value for name, value in wanted.items() if value is not None}
    for board in task["boards"]:
        if all(board[name] == value for name, value in key.items()):
            return board
    known = "; ".join(f"{name}s: {', '.join(task[f'{name}s'])}" for name in wanted)
    lacking = [one for one in task["lacking"] if one["rule"] == rule]
    why = f"; for {rule}, {lacking[0]['model']} lacks {lacking[0]['missing']}" if lacking else ""
    raise ValueError(
        f"{task['task']} has no board of {', '.join(f'{n} {v!r}' for n, v in key.items())}{why}. It has {known}"
    )


def _table(board: Record, confidence: float) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    has_groups = any(row["clustered"] is not None for row in board["rows"])
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("range", no_wrap=True)
    table.add_column("model", overflow="ellipsis", no_wrap=True, min_width=12)
    for name in (board["rule"], "± plain", *(["by group"] if has_groups else []), f"{confidence:.0%} interval"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in board["rows"]:
        within = row["intervals"][f"{confidence}"]
        low, high = within["rank"]
        table.add_row(
            str(row["rank"]),
            f"{low}–{high}" if low < high else str(low),
            _name(row["model"]),
            f"{row['value']:.4f}",
            _error(row["stderr"]),
            *([_error(row["clustered"])] if has_groups else []),
            "–" if row["stderr"] is None else "{:.4f}–{:.4f}".format(*within["value"]),
        )
    return table


def _findings(task: Record, board: Record) -> list[str]:
    lines = []
    if len(board["rows"]) > 1:
        lines.append(f"this order is right in {board['probability_of_order']:.0%} of the bootstraps")
    for one in task["order_by_items"]:
        if _same(one, board, ("prompt", "rule")) and board["subset"] == "all":
            parts = ", ".join(f"{p:.2f} with {n:,}" for n, p in one["probability"])
            lines.append(f"probability that a test finds this order, by its items: {parts}")
    lines += _flip_lines(task, board)
    lines += _answer_lines(task, board)
    lines += _best_lines(task)
    lines += _lacking_lines(task)
    return lines


def _neighbours(task: Record, board: Record) -> Table | None:
    """The tests of neighbours in the order; None where there are none, as for a subset."""
    pairs = next((one["pairs"] for one in task["pairs"] if _same(one, board, ("prompt", "rule", "subset"))), [])
    by_pair = {(pair["better"], pair["worse"]): pair for pair in pairs}
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("better than the next, on the same items", overflow="ellipsis", no_wrap=True, min_width=12)
    for name in ("by", "paired SE", "unpaired", "only one right", "z", "p", "items to resolve"):
        table.add_column(name, justify="right", no_wrap=True)
    for two in itertools.pairwise(row["model"] for row in board["rows"]):
        if pair := by_pair.get(two):
            split = "–" if pair["only_first"] is None else f"{pair['only_first']:,}/{pair['only_second']:,}"
            table.add_row(
                _name(two[0]),
                f"{pair['difference']:.4f}",
                _error(pair["stderr"]),
                _error(pair["unpaired"]),
                split,
                f"{pair['z']:.2f}",
                "<.001" if pair["p_adjusted"] < 0.001 else f"{pair['p_adjusted']:.3f}",
                "∞" if pair["items_for_this"] is None else f"{pair['items_for_this']:,.0f}",
            )
    return table if table.row_count else None


def _flip_lines(task: Record, board: Record) -> list[str]:
    lines = []
    for one in task["flips"]:
        if not _same(one["from"], board, ("prompt", "rule", "subset")):
            continue
        changed = next(name for name in ("prompt", "rule", "subset") if one["from"][name] != one["to"][name])
        some = ", ".join(f"{_name(a)} > {_name(b)}" for a, b in one["flipped"][:3])
        more = " …" if len(one["flipped"]) > 3 else ""
        lines.append(
            f"  {changed} {_name(one['to'][changed])}: {len(one['flipped'])} of {one['pairs']} pairs change places"
            f"{': ' if some else ''}{some}{more}"
        )
    if lines:
        lines.insert(0, "with another prompt, rule or subset:")
    return lines


def _answer_lines(task: Record, board: Record) -> list[str]:
    found = task["answers"]["task"]
    right = "/".join(f"{share:.3f}"[1:] for share in found["right"])
    lines = [
        f"right answers by position {right} (p of equal shares {found['p_value']:.2g}), chance {found['chance']:.3f}"
    ]
    if "longest" in found:
        lines[0] += f"; always the longest {found['longest']:.3f}, the shortest {found['shortest']:.3f}"
    rows = [one for one in task["calibration"] if _same(one, board, ("prompt", "rule"))]
    if rows:
        worst = max(rows, key=lambda one: one["ece"])
        lines.append(
            f"calibration over 15 bins: ECE {min(one['ece'] for one in rows):.3f} to {worst['ece']:.3f}, the largest "
            f"for {_name(worst['model'])} (mean confidence {worst['confidence']:.3f}, accuracy {worst['accuracy']:.3f})"
        )
    return lines


def _best_lines(task: Record) -> list[str]:
    found = task["best_of"]
    gains = [(row["best"][str(found["variants"])] - row["accuracy"], row) for row in found["rows"]]
    gain, row = max(gains, key=lambda one: (len(one[1]["passes"]), one[0]))
    passes = f" and pass {', '.join(map(_name, row['passes'][:3]))}" if row["passes"] else ""
    return [
        f"the best of {found['variants']} equally good variants of {_name(row['model'])} would show {gain:+.4f} by "
        f"noise alone{passes}"
    ]


def _lacking_lines(task: Record) -> list[str]:
    """Rules that no model's files have enough for; those that only some lack are seen in their boards."""
    missing = {one["rule"]: one["missing"] for one in task["lacking"] if one["rule"] not in task["rules"]}
    if not missing:
        return []
    return ["not computed: " + ", ".join(f"{rule} (no {what})" for rule, what in missing.items())]


def _same(one: Record, other: Record, names: tuple[str, ...]) -> bool:
    return all(one[name] == other[name] for name in names)


def _error(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _name(text: str) -> str:
    return escape(plain(text))
