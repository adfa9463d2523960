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
    count = len(sample.question_BM)
    at = np.arange(-(-count // BATCH) * BATCH) % count
    return [jax.tree.map(lambda x, i=i: np.asarray(x)[at[i : i + BATCH]], sample) for i in range(0, len(at), BATCH)]


def ask(answer: Callable[[Any, Sample], Any], params: Any, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Whether each answer is right, and its first token, both (B, M); `answer` is compiled."""
    found = [answer(params, one) for one in batches(sample)]
    right, token = (np.concatenate([np.asarray(x) for x in parts]) for parts in zip(*found, strict=True))
    return right[: len(sample.question_BM)], token[: len(sample.question_BM)]


def shuffled(sample: Sample) -> Sample:
    """Each question with the picture of another: pictures move on by half of the test."""
    moved = len(sample.question_BM) // 2
    pixels, labels = (np.roll(np.asarray(x), moved, axis=0) for x in (sample.pixels_BYXC, sample.labels_BK))
    return sample._replace(pixels_BYXC=pixels, labels_BK=labels)


def by_kind(world: World, sample: Sample, right_BM: np.ndarray) -> dict[str, float]:
    """The share of right answers of each kind, and of all questions."""
    kind_BM = world.kind(sample.question_BM)
    kinds = [kind for kind in dict.fromkeys(world.kinds) if (kind_BM == kind).any()]
    return {kind: float(right_BM[kind_BM == kind].mean()) for kind in kinds} | {ALL: float(right_BM.mean())}


def controls(world: World, sample: Sample) -> dict[str, dict[str, float]]:
    """What is reached without any model."""
    chance_Q = np.array([world.chances[kind] for kind in world.kinds])
    blind_BM = world.blind(sample.question_BM) == np.asarray(sample.answer_BM)
    chance_BM = chance_Q[np.asarray(sample.question_BM)]
    return {"chance": by_kind(world, sample, chance_BM), "blind": by_kind(world, sample, blind_BM)}


def summarised(runs: Sequence[dict[str, float]]) -> dict[str, dict[str, float | None]]:
    """Mean and interval by kind."""
    found = {kind: interval([run[kind] for run in runs]) for kind in runs[0]}
    return {kind: {"mean": mean, "interval": half} for kind, (mean, half) in found.items()}
