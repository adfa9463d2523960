"""The record as two pictures: premium.png, a heat map, and tokens.png, bars."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from llm_jax.files import replacing
from llm_jax.files.page.text import plain
from train.fertility.analysis import Record
from train.record.plots import pyplot

COLORS = ("#1d5fbf", "#c2410c", "#15803d", "#7c3aed", "#b45309", "#0e7490", "#be185d", "#8a8f98")
MOST_NAME = 24


def draw(folder: Path, record: Record) -> None:
    """Writes both, each whole or not at all."""
    texts, tokenizers = ([_short(one["name"]) for one in record[key]] for key in ("texts", "tokenizers"))
    key = "premium" if record["reference"] else "per_character"
    values = np.array([row[key] for row in record["rows"]], float).reshape(len(tokenizers), len(texts)).T
    order = np.argsort(-values.max(axis=1), kind="stable")
    label = f"premium: tokens over those of {record['reference']}" if record["reference"] else "tokens a character"
    per_sentence = np.array([row["per_sentence"] for row in record["rows"]]).reshape(len(tokenizers), len(texts)).T
    names = [texts[n] for n in order]
    _save(_heat_map(values[order], names, tokenizers, _short(label, 60)), folder / "premium.png")
    _save(_bars(per_sentence[order], names, tokenizers, record["context"]), folder / "tokens.png")


def _heat_map(values: np.ndarray, texts: list[str], tokenizers: list[str], label: str) -> Any:
    plt = pyplot()
    size = (2.4 + 1.15 * len(tokenizers), 1.5 + 0.34 * len(texts))
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    logs = np.log2(np.maximum(values, 1e-9))
    low = min(0.0, float(logs.min()))
    image = axes.imshow(logs, cmap="YlOrRd", aspect="auto", vmin=low, vmax=max(float(logs.max()), low + 1))
    for (row, column), value in np.ndenumerate(values):
        dark = image.norm(logs[row, column]) > 0.6
        axes.text(
            column, row, f"{value:.2f}", ha="center", va="center", color="white" if dark else "#1f2933", fontsize=9
        )
    axes.set_xticks(range(len(tokenizers)), tokenizers, rotation=20 if max(map(len, tokenizers)) > 11 else 0)
    axes.set_yticks(range(len(texts)), texts)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.suptitle(label, fontsize=10, x=0.02, ha="left")
    return figure


def _bars(values: np.ndarray, texts: list[str], tokenizers: list[str], context: int) -> Any:
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(7.5, 1.3 + len(texts) * (0.1 + 0.12 * len(tokenizers))), layout="constrained")
    height = 0.8 / len(tokenizers)
    for number, tokenizer in enumerate(tokenizers):
        places = np.arange(len(texts)) + (number - (len(tokenizers) - 1) / 2) * height
        axes.barh(places, values[:, number], height, label=tokenizer, color=COLORS[number % len(COLORS)])
    axes.set_yticks(range(len(texts)), texts)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xlabel("tokens a sentence, on average")
    axes.set_axisbelow(True)
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    return figure


def _save(figure: Any, path: Path) -> None:
    with warnings.catch_warnings(), replacing(path) as file:
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # of a name in another script
        figure.savefig(file, format="png", dpi=130)
    pyplot().close(figure)


def _short(name: str, most: int = MOST_NAME) -> str:
    name = plain(name).replace("$", r"\$")
    return name if len(name) <= most else "…" + name[1 - most :]
