"""When are two noisy loss curves the same? Their bands, and where these part.

A step's loss is the run's loss plus the luck of its batch. A straight line fitted to the steps in a window of tokens
around a point gives the loss there without most of the luck, and the scatter about the line gives the standard error of
that estimate. Two runs on different batches are then comparable: they have left each other where their estimates stay
more than 3 combined standard errors apart for a whole window, so that chance at one point is not called a difference.
A loss that is not finite tells nothing of a step and is left out of its windows; where none is left, a run has
diverged, and has left every other.

Left out: the correlation of two runs that saw the same batches. Their difference is known better than their bands say,
but whether one of them is better is not.
"""

from dataclasses import dataclass

import numpy as np

STANDARD_ERRORS = 3.0
WINDOW = 1 / 20  # of the tokens both have seen
FEWEST = 8  # steps in a window, at least; half of them finite
POINTS = 400  # at which the curves are compared


@dataclass(frozen=True)
class Curve:
    """Training losses (nats per token) over tokens seen, in ascending order, and validation losses where measured.

    A step whose loss is not finite is there as NaN: its tokens were seen.
    """

    name: str
    tokens: np.ndarray
    losses: np.ndarray
    val_tokens: np.ndarray
    val_losses: np.ndarray

    @property
    def lost(self) -> int:
        """Steps whose loss is not finite."""
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
        """How far apart the curves may be at each point and still be one."""
        return STANDARD_ERRORS * np.hypot(self.a.error, self.b.error)

    def partings(self) -> list[tuple[float, float]]:
        """Stretches of tokens, each a window long at least, over which the curves are apart or one of them is lost."""
        apart = ~(np.abs(self.difference) <= self.limit)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], apart, [False]]).astype(int)))
        stretches = self.points[np.column_stack([edges[::2], edges[1::2] - 1])]
        return [(float(first), float(last)) for first, last in stretches if last - first >= self.window]


def compare(a: Curve, b: Curve) -> Bands:
    """Both curves' bands over their common tokens. Raises ValueError when they have too little in common, or one has
    hardly a finite loss.
    """
    for curve in (a, b):
        if len(curve.losses) - curve.lost < 2 * FEWEST and curve.lost:
            raise ValueError(
                f"{curve.name}: the losses of {curve.lost:,} of its {len(curve.losses):,} steps are not finite: it "
                "diverged, and there is no curve to compare"
            )
    first, last = max(a.tokens[0], b.tokens[0]), min(a.tokens[-1], b.tokens[-1])
    spans = "; ".join(f"{c.name} has {len(c.tokens)} steps from {c.tokens[0]:,} to {c.tokens[-1]:,}" for c in (a, b))
    if last <= first:
        raise ValueError(f"the two curves have no tokens in common ({spans}): compare runs that overlap")
    points = np.linspace(first, last, POINTS)
    spacing = max((c.tokens[-1] - c.tokens[0]) / max(1, len(c.tokens) - 1) for c in (a, b))
    window = max(WINDOW * (last - first), 2 * FEWEST * spacing)  # at an end, half of it has points
    if window > last - first:
        raise ValueError(f"the two curves have too few steps in common to tell luck from difference ({spans})")
    return Bands(points, band(a, points, window), band(b, points, window), window)


def band(curve: Curve, points: np.ndarray, window: float) -> Band:
    """A straight line fitted to the losses within half a window of each point: its value there and standard error."""
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

    Of the finite y alone; NaN, twice, where they are too few.
    """
    finite = np.isfinite(y)
    x, y = x[finite], y[finite]
    if len(x) < FEWEST // 2:
        return np.nan, np.nan
    n, mean = len(x), x.mean()
    spread = np.square(x - mean).sum()
    slope = ((x - mean) * y).sum() / spread
    value = y.mean() - slope * mean
    variance = np.square(y - value - slope * x).sum() / (n - 2)
    return float(value), float(np.sqrt(variance * (1 / n + mean**2 / spread)))
