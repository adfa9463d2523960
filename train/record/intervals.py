"""A mean over the seeds of a run, with its 95 % interval (Student's t)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats


class Interval(NamedTuple):
    """Mean and half width; with one seed the half width is not known."""

    mean: float
    half: float | None

    def __str__(self) -> str:
        return f"{self.mean:.3f}" + ("" if self.half is None else f" ± {self.half:.3f}")


def interval(values: Sequence[float]) -> Interval:
    """The mean of `values`, and t·s/√n."""
    if len(values) < 2:
        return Interval(float(values[0]), None)
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return Interval(float(np.mean(values)), float(half))
