"""Sizes, tasks, and what is expected, stated before anything is trained.

The three models have the same number of weights in their matrices. A block of the encoder–decoder's decoder has a
second attention (4·D² more), so two blocks of each side with an MLP of 4·D, 2·(4 + 8)·D² + 2·(8 + 8)·D² = 56·D²,
equal four blocks with an MLP of 5·D, 4·(4 + 10)·D². All are pre-norm with GELU. A training costs each model the same
FLOPs, so one with cheaper steps takes more of them.
"""

from dataclasses import dataclass
from typing import Literal, get_args

ModelKind = Literal["encoder", "encoder–decoder", "decoder"]
TaskKind = Literal["continuation", "cloze", "transduction"]
MODELS: tuple[ModelKind, ...] = get_args(ModelKind)
TASKS: tuple[TaskKind, ...] = get_args(TaskKind)
UNITS: dict[TaskKind, str] = {
    "continuation": "bits per byte",
    "cloze": "accuracy of holes",
    "transduction": "word error",
}
LOWER_IS_BETTER = {"continuation": True, "cloze": False, "transduction": True}

# The best first. What came out stands beside it in every report, whatever it is.
EXPECTED: dict[TaskKind, tuple[ModelKind, ...]] = {
    "continuation": ("decoder", "encoder–decoder", "encoder"),
    "cloze": ("encoder", "encoder–decoder", "decoder"),
    "transduction": ("encoder–decoder", "decoder", "encoder"),
}
HOW: dict[TaskKind, dict[ModelKind, str]] = {
    "continuation": {
        "encoder": "masked model (15 %), scored position by position: the bytes before it and [MASK]",
        "encoder–decoder": "reads the first half of a window, writes the second; loss on the second half",
        "decoder": "next byte, loss on every position",
    },
    "cloze": {
        "encoder": "the same masked model; all holes filled at once",
        "encoder–decoder": "reads the text with its holes, writes the missing bytes in order",
        "decoder": "prefix model: text with holes, then the missing bytes; loss on these alone",
    },
    "transduction": {
        "encoder": "source and as many [MASK] as a target may have; all symbols written at once",
        "encoder–decoder": "reads the source, writes the target",
        "decoder": "prefix model: source, then target; loss on the target alone",
    },
}

MINUTES = 12.0
FLOPS_PER_SECOND = 40e9  # that two cores reach in training models of this size; turns --minutes into FLOPs


@dataclass(frozen=True)
class Setting:
    """Sizes of the experiment."""

    flops: float  # of each training
    d_model: int = 64
    n_heads: int = 2
    window: int = 64  # bytes
    prefix: int = 32  # bytes of a window that are given
    holes: int = 9  # of a window: 14 %
    longest: int = 16  # symbols of a source or a target; longer pairs are left out
    batch: int = 16  # windows
    batch_pairs: int = 32
    measured: int = 256  # windows of the test
    measured_pairs: int = 500
    rate: float = 3e-3  # peak learning rate
    seeds: int = 3

    @property
    def n_new(self) -> int:
        """Most symbols of a target, its end counted."""
        return self.longest + 1


def setting_of(minutes: float, seeds: int, quick: bool) -> Setting:
    """The setting whose trainings take about `minutes` on two cores; the masked model serves two tasks."""
    if quick:
        return Setting(
            flops=4e7, d_model=32, n_heads=1, batch=4, batch_pairs=4, measured=4, measured_pairs=8, seeds=seeds
        )
    n_trainings = (len(MODELS) * len(TASKS) - 1) * seeds
    return Setting(flops=60 * minutes * FLOPS_PER_SECOND / n_trainings, seeds=seeds)
