"""Accuracy by kind of question, with what a figure has to be compared with.

chance     guessing among the answers that the kind has
blind      the answer that was right most often in training for the same question: nothing learnt without the picture
           can do better on these questions
shuffled   the model itself, each question put to another picture: what it does not owe to the picture
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from train.record.intervals import interval
from train.vision.data.world import Sample, World

BATCH = 250
ALL = "all"
Record = dict[str, Any]


def batches(sample: Sample) -> list[Sample]:
    """Pieces of one length, the last padded with the first rows."""
    count = len(sample.question_B)
    at = np.arange(-(-count // BATCH) * BATCH) % count
    return [jax.tree.map(lambda x, i=i: np.asarray(x)[at[i : i + BATCH]], sample) for i in range(0, len(at), BATCH)]


def ask(answer: Callable[[Any, Sample], Any], params: Any, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Whether each answer is right, and its first token; `answer` is compiled."""
    found = [answer(params, one) for one in batches(sample)]
    right, token = (np.concatenate([np.asarray(x) for x in parts]) for parts in zip(*found, strict=True))
    return right[: len(sample.question_B)], token[: len(sample.question_B)]


def shuffled(world: World, sample: Sample) -> Sample:
    """Each question with the picture of another: pictures move on by half of the test."""
    rows, by = len(sample.question_B), world.per_picture
    moved = rows // (2 * by) * by if by > 1 else rows // 2
    pixels, labels = (np.roll(np.asarray(x), moved, axis=0) for x in (sample.pixels_BYXC, sample.labels_BK))
    return sample._replace(pixels_BYXC=pixels, labels_BK=labels)


def by_kind(world: World, sample: Sample, right_B: np.ndarray) -> dict[str, float]:
    """The share of right answers of each kind, and of all questions."""
    kind_B = world.kind_B(np.asarray(sample.question_B))
    kinds = [kind for kind in dict.fromkeys(world.kinds) if (kind_B == kind).any()]
    return {kind: float(right_B[kind_B == kind].mean()) for kind in kinds} | {ALL: float(right_B.mean())}


def controls(world: World, sample: Sample) -> dict[str, dict[str, float]]:
    """What is reached without any model."""
    kind_B = world.kind_B(np.asarray(sample.question_B))
    chance_B = np.array([world.chances[kind] for kind in kind_B])
    blind_B = world.blind_B(np.asarray(sample.question_B)) == np.asarray(sample.answer_B)
    return {"chance": by_kind(world, sample, chance_B), "blind": by_kind(world, sample, blind_B)}


def summarised(runs: Sequence[dict[str, float]]) -> dict[str, dict[str, float | None]]:
    """Mean and interval by kind."""
    found = {kind: interval([run[kind] for run in runs]) for kind in runs[0]}
    return {kind: {"mean": mean, "interval": half} for kind, (mean, half) in found.items()}
