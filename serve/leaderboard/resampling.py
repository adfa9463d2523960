"""The bootstrap over items (Efron 1979): figures of many boards on the same drawn items.

All models, prompts and rules share the draws, so differences between them are paired. With groups, whole groups are
drawn (Field & Welsh 2007).
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

PART = 50  # replicates at once: bounds the memory


def means(
    values_RN: np.ndarray, replicates: int, seed: int, group_N: np.ndarray | None = None, n: int | None = None
) -> np.ndarray:
    """(replicates, R): the mean of each row over items drawn with replacement; `n` items, by default as many as exist.

    With groups, as many groups as exist are drawn, and `n` has no meaning.
    """
    random = np.random.default_rng(seed)
    sums_RU, sizes_U = values_RN, np.ones(values_RN.shape[1])
    if group_N is not None:
        units = int(group_N.max()) + 1
        sizes_U = np.bincount(group_N, minlength=units).astype(float)
        sums_RU = np.stack([np.bincount(group_N, row, minlength=units) for row in values_RN])
    units = len(sizes_U)
    drawn = n if n is not None and group_N is None else units
    found = np.empty((replicates, len(values_RN)))
    for start in range(0, replicates, PART):
        rows = min(PART, replicates - start)
        index = random.integers(0, units, (rows, drawn))
        if drawn * 4 < units:  # few of many: counting how often each was drawn takes longer than looking them up
            found[start : start + rows] = sums_RU[:, index].mean(2).T
            continue
        index += np.arange(rows)[:, None] * units
        times = np.bincount(index.ravel(), minlength=rows * units).reshape(rows, units).astype(float)
        found[start : start + rows] = times @ sums_RU.T / (times @ sizes_U)[:, None]
    return found


def ranks(means_BM: np.ndarray, lower_is_better: bool = False) -> np.ndarray:
    """Rank of each model in each replicate, 1 for the best; equals share the best rank."""
    return rankdata(means_BM if lower_is_better else -means_BM, method="min", axis=1).astype(int)


def rank_interval(ranks_BM: np.ndarray, confidence: float) -> list[tuple[int, int]]:
    tail = (1 - confidence) / 2
    low = np.quantile(ranks_BM, tail, axis=0, method="inverted_cdf")
    high = np.quantile(ranks_BM, 1 - tail, axis=0, method="higher")
    return [(int(a), int(b)) for a, b in zip(low, high, strict=True)]


def probability_of_order(means_BM: np.ndarray, order: Sequence[int], lower_is_better: bool = False) -> float:
    """Share of the replicates in which the models stand in `order`, no two of them equal."""
    steps = np.diff(means_BM[:, list(order)], axis=1)
    return float(((steps > 0) if lower_is_better else (steps < 0)).all(1).mean())
