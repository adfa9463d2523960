"""`loss.png`: training and validation loss over tokens, with a published curve for comparison."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from llm_jax.files import replacing

INK, TRAIN, VAL, REFERENCE = "#1f2933", "#9fb8d9", "#c2410c", "#8a8f98"


def read_curve(path: Path) -> dict[str, list[tuple[int, float]]]:
    """A published curve from a CSV file with the columns step, metric, value.

    Returns:
        metric → (step, value), in the order of the steps.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the columns or a value are wrong; names the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no curve {path}: expected a CSV file with the columns step,metric,value")
    curves: dict[str, list[tuple[int, float]]] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if not {"step", "metric", "value"} <= set(reader.fieldnames or ()):
            raise ValueError(f"{path} has columns {reader.fieldnames}; expected step,metric,value")
        for row in reader:
            try:
                curves.setdefault(row["metric"], []).append((int(row["step"]), float(row["value"])))
            except (TypeError, ValueError):
                raise ValueError(f"{path}, line {reader.line_num}: expected step,metric,value; got {row}") from None
    return {metric: sorted(points) for metric, points in curves.items()}


def draw_loss(
    out: Path,
    lines: list[dict[str, Any]],
    title: str,
    reference: tuple[Path, int] | None = None,
    x: str = "tokens",
    x_label: str = "tokens seen",
    unit: str = "nats per token",
) -> None:
    """Plots lines of metrics to `out` (PNG).

    Args:
        reference: file of a published curve, and its tokens per step.
        x: metric along the horizontal axis.
    """
    from matplotlib.ticker import EngFormatter

    plt = pyplot()
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    if reference:
        path, batch_tokens = reference
        for metric, points in read_curve(path).items():
            steps, values = np.array(points).T
            style = "-" if "val" in metric else ":"
            axes.plot(steps * batch_tokens, values, style, color=REFERENCE, lw=1.2, label=f"{path.stem}: {metric}")
    trained = [(line[x], line["train_loss"]) for line in lines if line.get("train_loss") is not None and x in line]
    if trained:
        tokens, losses = np.array(trained, float).T
        axes.plot(tokens, losses, color=TRAIN, lw=0.6, alpha=0.6)
        axes.plot(tokens, smooth(losses), color=TRAIN, lw=1.8, label="training (smoothed)")
    measured = [(line[x], line["val_loss"]) for line in lines if line.get("val_loss") is not None and x in line]
    if measured:
        tokens, losses = np.array(measured, float).T
        axes.plot(tokens, losses, "o-", color=VAL, ms=4, lw=1.5, label=f"validation: {losses[-1]:.3f} at the end")
    axes.set(xlabel=x_label, ylabel=f"loss ({unit})", title=title)
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, labelcolor=INK)
    if reference and trained:
        axes.set_xlim(right=trained[-1][0] * 1.05)
    save(figure, out)


def pyplot() -> Any:
    """matplotlib's pyplot with a backend that draws to files. Imported here, because it takes half a second."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def save(figure: Any, out: Path) -> None:
    """Writes a figure as PNG, whole or not at all, and closes it."""
    with replacing(out) as file:
        figure.savefig(file, dpi=120, format="png")
    pyplot().close(figure)


def smooth(values: np.ndarray) -> np.ndarray:
    """Mean over a centred window of a twenty-fifth of the run. Centred, so that it does not lag behind the curve.

    Only finite values count; NaN where a window has none.
    """
    width = max(1, len(values) // 50)
    finite = np.isfinite(values)
    sums = np.cumsum(np.concatenate([[0.0], np.where(finite, values, 0.0)]))
    counts = np.cumsum(np.concatenate([[0], finite]))
    index = np.arange(len(values))
    low, high = np.maximum(index - width, 0), np.minimum(index + width + 1, len(values))
    n = counts[high] - counts[low]
    return np.where(n > 0, sums[high] - sums[low], np.nan) / np.maximum(n, 1)
