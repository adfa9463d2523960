"""Decides whether two noisy loss curves are the same, from their bands of standard errors.

A step's loss is the run's loss plus the noise of its batch. A straight line fitted to the steps in a window of tokens
around a point estimates the loss there with little of that noise. The scatter about the line gives the estimate's
standard error. This makes two runs on different batches comparable. They differ if their estimates stay more than 3
combined standard errors apart for a whole window, so chance at one point is not called a difference. A loss that is not
finite is left out of its windows. Where no finite loss is left, the run has diverged, and differs from every other.

Left out: the correlation of two runs that saw the same batches. Their difference is then known more precisely than the
bands say, but this does not tell which run is better.
"""

from dataclasses import dataclass

import numpy as np

STANDARD_ERRORS = 3.0
WINDOW = 1 / 20  # of the tokens both have seen
MIN_STEPS = 8  # in a window; half of their losses must be finite
POINTS = 400  # at which the curves are compared


@dataclass(frozen=True)
class Curve:
    """Training losses (nats per token) over tokens seen, in ascending order, and validation losses where measured.

    A loss that is not finite is stored as NaN, because the step's tokens were seen.
    """

    name: str
    tokens: np.ndarray
    losses: np.ndarray
    val_tokens: np.ndarray
    val_losses: np.ndarray

    @property
    def n_not_finite(self) -> int:
        """Number of steps whose loss is not finite."""
        return int((~np.isfinite(self.losses)).sum())


@dataclass(frozen=True)
class Band:
    """A smoothed curve and its standard error at each point; NaN where a window has too few finite losses."""

    loss: np.ndarray
    error: np.ndarray


@dataclass(frozen=True)
class Bands:
    """Two curves over the tokens both have seen."""

    points: np.ndarray  # tokens
    a: Band
    b: Band
    window: float  # tokens

    @property
    def difference(self) -> np.ndarray:
        return self.a.loss - self.b.loss

    @property
    def limit(self) -> np.ndarray:
        """Largest difference at each point that noise explains."""
        return STANDARD_ERRORS * np.hypot(self.a.error, self.b.error)

    def differing_ranges(self) -> list[tuple[float, float]]:
        """Ranges of tokens, at least a window long, over which the curves differ or one has no finite loss."""
        apart = ~(np.abs(self.difference) <= self.limit)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], apart, [False]]).astype(int)))
        stretches = self.points[np.column_stack([edges[::2], edges[1::2] - 1])]
        return [(float(first), float(last)) for first, last in stretches if last - first >= self.window]


def compare(a: Curve, b: Curve) -> Bands:
    """Both curves' bands over their common tokens.

    Raises:
        ValueError: the curves have too few steps in common, or one has hardly any finite loss.
    """
    for curve in (a, b):
        if len(curve.losses) - curve.n_not_finite < 2 * MIN_STEPS and curve.n_not_finite:
            raise ValueError(
                f"{curve.name}: the losses of {curve.n_not_finite:,} of its {len(curve.losses):,} steps are not "
                "finite: it diverged, and there is no curve to compare"
            )
    first, last = max(a.tokens[0], b.tokens[0]), min(a.tokens[-1], b.tokens[-1])
    spans = "; ".join(f"{c.name} has {len(c.tokens)} steps from {c.tokens[0]:,} to {c.tokens[-1]:,}" for c in (a, b))
    if last <= first:
        raise ValueError(f"the two curves have no tokens in common ({spans}): compare runs that overlap")
    points = np.linspace(first, last, POINTS)
    spacing = max((c.tokens[-1] - c.tokens[0]) / max(1, len(c.tokens) - 1) for c in (a, b))
    window = max(WINDOW * (last - first), 2 * MIN_STEPS * spacing)  # at an end, only half a window has steps
    if window > last - first:
        raise ValueError(f"the two curves have too few steps in common to tell noise from difference ({spans})")
    return Bands(points, band(a, points, window), band(b, points, window), window)


def band(curve: Curve, points: np.ndarray, window: float) -> Band:
    """A line fitted to the losses within half a window of each point: its value there and standard error."""
    low = np.searchsorted(curve.tokens, points - window / 2)
    high = np.searchsorted(curve.tokens, points + window / 2, side="right")
    fits = [
        _line_at_zero(curve.tokens[i:j] - point, curve.losses[i:j])
        for i, j, point in zip(low, high, points, strict=True)
    ]
    loss, error = np.array(fits).T
    return Band(loss, error)


def _line_at_zero(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Least squares y = c + m·x: the estimate of c, and its standard error √(s²·(1/n + x̄²/Σ(x − x̄)²)).

    Only finite y are used. Both results are NaN where too few are.
    """
    finite = np.isfinite(y)
    x, y = x[finite], y[finite]
    if len(x) < MIN_STEPS // 2:
        return np.nan, np.nan
    n, mean = len(x), x.mean()
    spread = np.square(x - mean).sum()
    slope = ((x - mean) * y).sum() / spread
    value = y.mean() - slope * mean
    variance = np.square(y - value - slope * x).sum() / (n - 2)
    return float(value), float(np.sqrt(variance * (1 / n + mean**2 / spread)))
