"""Compare two runs, or a run and a published curve: `python -m train compare RUN_A RUN_B`.

Curves are aligned by tokens seen. Each has a band: its smoothed training loss ± 3 standard errors, the noise of the
batches. The exit status is 0 if the runs stay within each other's band, 1 if they leave it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from llm_jax.runs import METRICS, batch_tokens

if TYPE_CHECKING:
    from train.record.compare.bands import Curve


@dataclass(frozen=True)
class Options:
    """Which two runs, and the file of the plot."""

    run_a: tyro.conf.Positional[str]
    """A run: its folder, or its name in the folder --runs."""
    run_b: tyro.conf.Positional[str]
    """Another run, or a curve: a CSV file with the columns step,metric,value (metrics train_loss and val_loss)."""
    runs: Path = Path("runs")
    """Folder of all runs."""
    batch_tokens: int = 0
    """Tokens per step of a CSV curve. 0: as many as RUN_A has."""
    out: Path = Path("compare.png")
    """File for the plot."""


def main(options: Options) -> int:
    """Prints the table and the verdict and writes the plot; returns 0 within each other's band, else 1."""
    from rich.console import Console

    from train.record.compare import bands, report

    folder = _folder(options.run_a, options.runs)
    a = _run(folder)
    if options.run_b.endswith(".csv"):
        b = _published(Path(options.run_b), options.batch_tokens or batch_tokens(folder))
    else:
        b = _run(_folder(options.run_b, options.runs))
    comparison = bands.compare(a, b)
    console = Console(highlight=False)
    console.print(report.table(a, b, comparison))
    report.draw(options.out, a, b, comparison)
    for curve in (a, b):
        if curve.n_not_finite:
            console.print(report.not_finite(curve), markup=False)
    ranges = comparison.differing_ranges()
    style = "bold red" if ranges else "bold green"
    console.print(report.verdict(a, b, comparison, ranges), style=style, markup=False)
    console.print(f"{options.out} is written")
    return 1 if ranges else 0


def _folder(run: str, runs: Path) -> Path:
    """A run's folder, given by its path or by its name. Raises FileNotFoundError that names both places."""
    folders = dict.fromkeys((Path(run), runs / run))  # one where the path is absolute
    for folder in folders:
        if (folder / METRICS).is_file():
            return folder
    places = " or ".join(str(folder / METRICS) for folder in folders)
    raise FileNotFoundError(f"no run {run!r}: there is no {places}")


def _run(folder: Path) -> "Curve":
    from train.record import metrics

    lines = [line for line in metrics.read(folder) if line.get("tokens") is not None]
    return _curve(
        folder.name,
        [(line["tokens"], line["train_loss"]) for line in lines if "train_loss" in line],  # null: not finite
        [(line["tokens"], line["val_loss"]) for line in lines if line.get("val_loss") is not None],
        folder / METRICS,
    )


def _published(path: Path, batch_tokens: int) -> "Curve":
    from train.record.plots import read_curve

    curves = {
        metric: [(step * batch_tokens, value) for step, value in points] for metric, points in read_curve(path).items()
    }
    if "train_loss" not in curves:
        raise ValueError(f"{path} has the metrics {', '.join(curves) or 'none'}; expected train_loss (and val_loss)")
    return _curve(path.stem, curves["train_loss"], curves.get("val_loss", []), path)


def _curve(name: str, train: list[Any], val: list[Any], source: Path) -> "Curve":
    import numpy as np

    from train.record.compare.bands import Curve

    if not train:
        raise ValueError(f"{source} has no training loss yet: let the run take some steps")
    tokens, losses = np.array(train, float).T
    losses = np.where(np.isfinite(losses), losses, np.nan)
    measured = np.array(val, float).reshape(-1, 2)
    val_tokens, val_losses = measured[np.isfinite(measured[:, 1])].T
    return Curve(name, tokens, losses, val_tokens, val_losses)
