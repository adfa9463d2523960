"""Every makemore model on names.txt, against what was published for it.

Each is trained by `python -m train makemore` in a process of its own. Processor time is that of all cores together;
names.txt is Karpathy's (github.com/karpathy/makemore). Published: the makemore lectures and README.

    python benchmarks/makemore.py --data names.txt --out benchmarks/results/makemore.json
"""

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from measuring import save
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Target:
    """One row of the table: how it is trained, and which loss (nats per character) it has to reach."""

    name: str
    arguments: tuple[str, ...]
    split: str
    limit: float | None
    published: str


TARGETS = (
    Target("bigram, counted", ("--model", "bigram"), "all", 2.4540145, "2.454014"),
    Target("trigram, counted", ("--model", "ngram", "--order", "3"), "dev", 2.22255, "2.2225"),
    Target("4-gram, counted", ("--model", "ngram", "--order", "4"), "dev", 2.10185, "2.1018"),
    Target("5-gram, counted", ("--model", "ngram", "--order", "5"), "dev", 2.15225, "2.1522"),
    Target("bigram, learned", ("--model", "neural-bigram"), "train", 2.456, "2.454 is the least"),
    Target("MLP, N(0, 1)", ("--model", "mlp", "--initialisation", "original"), "dev", 2.17, "2.1682"),
    Target("MLP, Kaiming", ("--model", "mlp"), "dev", 2.10, "2.1070"),
    Target("MLP, batch norm", ("--model", "mlp-batchnorm"), "dev", 2.10, "2.1048"),
    Target(
        "MLP, batch norm, backward by hand",
        ("--model", "mlp-batchnorm", "--gradients", "by-hand"),
        "dev",
        2.11,
        "2.1099",
    ),
    Target("hierarchical, window of 8", ("--model", "wavenet"), "dev", 1.993, "1.993"),
    Target("recurrent, simple", ("--model", "rnn"), "dev", 2.10, "—"),
    Target("recurrent, gated", ("--model", "gru"), "dev", 2.05, "—"),
    Target("Transformer, the lectures' split", ("--model", "transformer"), "test", None, "—"),
    Target("Transformer, the README's split", ("--model", "transformer", "--split", "readme"), "test", 1.92, "≈ 1.92"),
    Target(
        "4-gram, the README's split", ("--model", "ngram", "--order", "4", "--split", "readme"), "test", None, "—"
    ),  # how much easier its 1,000 names are
)


@dataclass(frozen=True)
class Options:
    data: Path = Path("names.txt")
    """Karpathy's names.txt."""
    only: tuple[str, ...] = ()
    """Names of rows, or parts of names; the others are kept as they are in --out."""
    out: Path | None = None
    """JSON file for the results; rows that were not run again stay."""

    def __post_init__(self) -> None:
        names = [target.name for target in TARGETS]
        for part in self.only:
            if not any(part in name for name in names):
                raise ValueError(f"only: no row has {part!r} in its name; rows are {'; '.join(names)}")


def main(options: Options) -> int:
    results: dict[str, Any] = {}
    if options.out and options.out.exists():
        results = json.loads(options.out.read_text())["rows"]
    for target in TARGETS:
        if not options.only or any(part in target.name for part in options.only):
            results[target.name] = train(target, options.data)
            if options.out:
                write(options.out, results)
    show(results)
    return 0 if all(has_reached(results[t.name]) for t in TARGETS if t.name in results) else 1


def has_reached(row: dict[str, Any]) -> bool:
    return row["limit"] is None or row["reached"] <= row["limit"]


def train(target: Target, data: Path) -> dict[str, Any]:
    """Runs the command; its losses, and the time it took."""
    with tempfile.TemporaryDirectory() as runs:
        command = [sys.executable, "-m", "train", "makemore", *target.arguments, "--data", str(data), "--runs", runs]
        begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        # NumPy's matrices are small here: several threads spend their time waiting for each other.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        subprocess.run([*command, "--run", "benchmark"], check=True, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        summary = json.loads((Path(runs) / "benchmark" / "summary.json").read_text())
    return {
        "reached": summary["losses"][target.split],
        "split": target.split,
        "limit": target.limit,
        "published": target.published,
        "losses": summary["losses"],
        "parameters": summary.get("parameters"),
        "arguments": list(target.arguments),
        "seconds": round(time.monotonic() - begun, 1),
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
    }


def write(out: Path, rows: dict[str, Any]) -> None:
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    ordered = {target.name: rows[target.name] for target in TARGETS if target.name in rows}
    save(out, {"machine": machine, "rows": ordered})


def show(results: dict[str, Any]) -> None:
    table = Table(title="names.txt, nats per character", title_justify="left")
    for column in ("model", "parameters", "split", "reached", "at most", "published", "CPU s", "s"):
        table.add_column(column, justify="left" if column in ("model", "split") else "right")
    for name, row in results.items():
        size = f"{row['parameters']:,}" if row["parameters"] else ""
        color = "green" if has_reached(row) else "red"
        reached, times = f"[{color}]{row['reached']:.4f}[/]", (f"{row['cpu_seconds']:.0f}", f"{row['seconds']:.0f}")
        limit = f"{row['limit']:g}" if row["limit"] else ""
        table.add_row(name, size, row["split"], reached, limit, row["published"], *times)
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
