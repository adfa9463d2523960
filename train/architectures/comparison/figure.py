"""`comparison.png`: one panel a task, one column a model; every seed, their mean, its 95 % interval."""

from pathlib import Path
from typing import Any

from train.architectures.comparison.setting import EXPECTED, LOWER_IS_BETTER, MODELS, TASKS, UNITS
from train.record.plots import pyplot, save

FILE = "comparison.png"
INK, GREY = "#1f2933", "#8a8f98"
COLORS = {"encoder": "#1d5fbf", "encoder–decoder": "#15803d", "decoder": "#c2410c"}
TITLES = {
    "continuation": "Continue a text",
    "cloze": "Fill holes in a text",
    "transduction": "Turn one sequence into another",
}


def draw(out: Path, results: Any, text: str, pairs: str) -> None:
    """Writes the picture."""
    plt = pyplot()
    figure, axes = plt.subplots(1, len(TASKS), figsize=(11, 4.3), layout="constrained")
    for axis, task in zip(axes, TASKS, strict=True):
        _panel(axis, task, results[task])
    axes[0].figure.suptitle(
        "Three architectures, equal parameters, equal FLOPs", x=0.01, ha="left", fontweight="bold", color=INK
    )
    figure.text(
        0.01,
        -0.045,
        f"text: {text}; pairs: {pairs}. Dots: seeds; bars: 95 % interval of the mean.",
        color=GREY,
        fontsize=8,
    )
    save(figure, out)


def _panel(axis: Any, task: Any, found: Any) -> None:
    for x, kind in enumerate(MODELS):
        row, color = found[kind], COLORS[kind]
        if row["half"] is not None:
            axis.errorbar([x], [row["mean"]], yerr=[row["half"]], color=color, lw=2, capsize=7, capthick=2, zorder=2)
        axis.plot([x - 0.2, x + 0.2], [row["mean"]] * 2, color=color, lw=3, zorder=3)
        spread = [x + 0.07 * (i - (len(row["values"]) - 1) / 2) for i in range(len(row["values"]))]
        axis.plot(spread, row["values"], "o", color=color, ms=5, alpha=0.55, mec="white", mew=0.6, zorder=4)
        axis.annotate(
            f"{row['mean']:.3f}", (x + 0.26, row["mean"]), color=color, fontsize=9, va="center", fontweight="bold"
        )
    axis.set_xticks(range(len(MODELS)), [kind.replace("–", "–\n") for kind in MODELS])
    axis.set_xlim(-0.5, len(MODELS) - 0.25)
    axis.margins(y=0.15)
    better = "lower" if LOWER_IS_BETTER[task] else "higher"
    axis.set_title(TITLES[task], loc="left", fontsize=11, color=INK)
    axis.set_ylabel(f"{UNITS[task]} ({better} is better)", color=INK)
    axis.set_xlabel(f"expected: {' < '.join(EXPECTED[task][::-1])}", fontsize=7.5, color=GREY)
    axis.grid(axis="y", alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(colors=INK)
