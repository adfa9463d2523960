"""Standard errors of a mean over items, tests between two models on the same items, and the items a difference needs.

Miller 2024, "Adding error bars to evals" (arXiv 2411.00640), names the formulas:

    plain       sd / √n
    clustered   √(Σ_c (Σ_{i∈c} (x_i − x̄))²) / n         items of one group are not independent
    paired      sd(d) / √n, d_i = x_i − y_i             the same items: their difficulty cancels
    items       n = (z_{1−α/2} + z_power)² · Var(d) / δ²

McNemar 1947 asks only about the items on which the two differ.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import stats


class Paired(NamedTuple):
    """A difference of means, first − second."""

    difference: float
    stderr: float  # paired
    unpaired: float  # standard error if the two had answered different items
    clustered: float | None
    only_first: int | None  # items that only the first has right; None for a rule that is no right or wrong
    only_second: int | None
    z: float  # McNemar's for right and wrong, else difference / stderr
    p_value: float  # exact (binomial) for right and wrong, else of z
    items_for_this: float  # items until a difference of this size is found in 80 % of tests; inf for none


def plain(values_N: np.ndarray) -> float:
    """NaN for a single item."""
    return float(stats.sem(values_N)) if len(values_N) > 1 else math.nan


def clustered(values_N: np.ndarray, group_N: np.ndarray) -> float:
    """`group_N` numbers the groups from 0."""
    sums = np.bincount(group_N, values_N - values_N.mean())
    return float(math.sqrt((sums**2).sum()) / len(values_N))


def paired(first_N: np.ndarray, second_N: np.ndarray, group_N: np.ndarray | None, is_right_or_wrong: bool) -> Paired:
    """Compares two models on the same items."""
    difference_N = first_N - second_N
    difference, stderr = float(difference_N.mean()), plain(difference_N)
    only_first = only_second = None
    if is_right_or_wrong:
        only_first, only_second = int((difference_N > 0).sum()), int((difference_N < 0).sum())
        differing = only_first + only_second
        z = (only_first - only_second) / math.sqrt(differing) if differing else 0.0
        p_value = float(stats.binomtest(only_first, differing).pvalue) if differing else 1.0
    else:
        z = difference / stderr if stderr > 0 else 0.0
        p_value = float(2 * stats.norm.sf(abs(z)))
    return Paired(
        difference,
        stderr,
        math.hypot(plain(first_N), plain(second_N)),
        None if group_N is None else clustered(difference_N, group_N),
        only_first,
        only_second,
        z,
        p_value,
        items_needed(difference_N, difference),
    )


def items_needed(difference_N: np.ndarray, effect: float, power: float = 0.8, level: float = 0.05) -> float:
    """Items until a paired test finds a true difference `effect` with the given power; infinite where it is 0."""
    if effect == 0 or len(difference_N) < 2:
        return math.inf
    z = stats.norm.isf(level / 2) + stats.norm.isf(1 - power)
    return float(z**2 * difference_N.var(ddof=1) / effect**2)
