"""Pictures of a run: losses, what the embedded model looks at, and what the early one draws."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from train.record import plots
from train.vision import looking
from train.vision.data.world import Sample, World

SHOWN = 10  # pictures in a figure
LEAST_LOSS = 1e-4  # that a figure shows: what is known by heart would take up most of a logarithmic axis
COLOURS = {"pipeline": "#1d5fbf", "early": "#c2410c", "embedded": "#117733", "cross": "#8a4fbf"}
Record = dict[str, Any]


def losses(out: Path, record: Record) -> None:
    """The loss of every stage of the first seed."""
    figure, axes = plots.pyplot().subplots(figsize=(8, 6), layout="constrained")
    for name, way in record["ways"].items():
        first, styles = 0, ("-", "--", ":", "-.")
        for number, (stage, values) in enumerate(zip(way["stages"], way["losses"][0], strict=True)):
            at = first + np.arange(len(values))
            smooth = np.convolve(np.pad(values, 10, mode="edge"), np.full(21, 1 / 21), mode="valid")
            smooth = np.maximum(smooth, LEAST_LOSS)
            label = f"{name}: {stage['stage']}"
            axes.plot(at, smooth, styles[number], color=COLOURS.get(name, plots.INK), lw=1.4, label=label)
            first += len(values)
    axes.set(xlabel="step of the way", ylabel="loss (nats per word)", yscale="log", title="losses, first seed")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    plots.save(figure, out)


def attention(out: Path, way: Any, params: Any, test: Sample) -> None:
    """Pictures, each with a question, and the share of every patch in the answer's position."""
    world: World = way.task.world
    row_B, number_B = _one_of_each_kind(world, test)
    sample = jax.tree.map(lambda x: np.asarray(x)[row_B], test)
    question_B, answer_B = (x[np.arange(len(row_B)), number_B] for x in (sample.question_BM, sample.answer_BM))
    sample = sample._replace(question_BM=question_B[:, None], answer_BM=answer_B[:, None])
    share_BP = looking.followed(way, params, sample)
    side = round(share_BP.shape[1] ** 0.5)
    figure, axes = plots.pyplot().subplots(2, len(row_B), figsize=(1.9 * len(row_B), 4.2), layout="constrained")
    for column, (above, below) in enumerate(zip(*axes, strict=True)):
        picture = np.asarray(sample.pixels_BYXC[column])
        share = share_BP[column].reshape(side, side)
        above.imshow(picture, interpolation="nearest")
        question = world.questions[int(question_B[column])]
        above.set_title(_broken(question), fontsize=8)
        large = np.kron(share / max(share.max(), 1e-9), np.ones([picture.shape[0] // side] * 2))
        below.imshow(picture * (0.15 + 0.85 * large[..., None]), interpolation="nearest")
        below.set_title(f"answer: {world.answers[int(answer_B[column])]}", fontsize=8)
        for one in (above, below):
            one.set_axis_off()
    figure.suptitle("brightness: the share of a patch in the answer (attention rollout)", fontsize=9)
    plots.save(figure, out)


def _one_of_each_kind(world: World, test: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the test and a question of each, kinds in turn, each from another picture."""
    kind_BM = world.kind(test.question_BM)
    places = [np.argwhere(kind_BM == kind) for kind in dict.fromkeys(world.kinds)]
    found = [
        of_kind[(turn * 7 + 3 + k) % len(of_kind)]
        for turn in range(SHOWN)
        for k, of_kind in enumerate(places)
        if len(of_kind)
    ]
    row_B, number_B = np.array(found[:SHOWN]).T
    return row_B, number_B


def _broken(text: str, width: int = 18) -> str:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > width and lines[-1]:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return "\n".join(lines)


def drawn(out: Path, way: Any, params: Any, test: Sample, seed: int) -> dict[str, Any]:
    """Draws the words of test pictures. Above the true picture, then what its codes show, then the drawing."""
    world: World = way.task.world
    chosen = _first_rows(np.asarray(test.pixels_BYXC))[:SHOWN]
    labels, true = np.asarray(test.labels_BK)[chosen], np.asarray(test.pixels_BYXC)[chosen]
    codes = np.asarray(way.encode(params.codes_KI, true))
    shown = way.paint(params.codes_KI, codes)
    made = way.draw(params, labels, seed)
    figure, axes = plots.pyplot().subplots(
        3, len(chosen), figsize=(1.5 * len(chosen), 5.4), layout="constrained", squeeze=False
    )
    for line, (title, pictures) in enumerate((("picture", true), ("its codes", shown), ("drawn from the words", made))):
        for column in range(len(chosen)):
            place = axes[line, column]
            place.imshow(np.clip(pictures[column], 0, 1), interpolation="nearest")
            place.set_xticks([])
            place.set_yticks([])
            if line == 0:
                place.set_title(_broken(", ".join(said(world, labels[column])), 14), fontsize=7)
        axes[line, 0].set_ylabel(title, fontsize=8)
    plots.save(figure, out)
    return {"squared_error_of_codes": float(np.mean((shown - true) ** 2))}


def _first_rows(pixels_BYXC: np.ndarray) -> list[int]:
    """The first row of each picture: a test may have a row for every question about it."""
    first: dict[bytes, int] = {}
    for row, picture in enumerate(pixels_BYXC):
        first.setdefault(picture.tobytes(), row)
    return list(first.values())


def said(world: World, labels_K: Sequence[int] | np.ndarray) -> list[str]:
    """The words of a picture, colour and digit of a place together."""
    words = ["?" if label < 0 else place[label] for place, label in zip(world.places, labels_K, strict=True)]
    return [" ".join(words[at : at + 2]) for at in range(0, len(words), 2)]
