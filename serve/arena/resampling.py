"""Intervals of strengths and ranks by the bootstrap (Efron 1979): votes are drawn again, with replacement, many times.

Votes of one person, or about one prompt, depend on each other. With clusters, whole clusters are drawn (Field & Welsh
2007), and the intervals get as wide as they should be. Each replicate is fitted with a weak prior, because a model may
win none of the votes drawn.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from serve.arena import strength, tables
from serve.arena.votes import Votes

TOLERANCE = 1e-6  # in θ: a thousandth of an Elo point


class Interval(NamedTuple):
    low: np.ndarray
    high: np.ndarray


def bradley_terry(votes: Votes, theta: np.ndarray, replicates: int, seed: int = 0) -> np.ndarray:
    """θ of each replicate (row) and model. `theta`, the fit to all votes, is where each fit starts."""
    cell, k = tables.cells(votes), len(votes.models)
    refit = strength.Refit(tables.tabulate(cell, k).points, theta, strength.RIDGE)

    def fit(child: np.random.SeedSequence) -> np.ndarray:
        drawn, weights = _draw(np.random.default_rng(child), cell, votes.cluster)
        return refit(tables.tabulate(drawn, k, weights).points, TOLERANCE)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.array(list(pool.map(fit, np.random.SeedSequence(seed).spawn(replicates))))


def _draw(
    random: np.random.Generator, cell: np.ndarray, cluster: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Cells of the votes drawn; with clusters, all cells and how often each vote's cluster was drawn."""
    if cluster is None:
        return cell[random.integers(0, len(cell), len(cell), dtype=np.int32)], None
    groups = int(cluster.max()) + 1
    times = np.bincount(random.integers(0, groups, groups), minlength=groups)
    return cell, times[cluster].astype(float)


def ranks(scores: np.ndarray) -> np.ndarray:
    """Rank of each column in each row, 1 for the largest; equals share the best rank."""
    from scipy.stats import rankdata

    return rankdata(-scores, method="min", axis=-1)


def interval(values: np.ndarray, confidence: float) -> Interval:
    """The middle part of the replicates (rows): the percentile interval."""
    tail = (1 - confidence) / 2
    return Interval(np.quantile(values, tail, axis=0), np.quantile(values, 1 - tail, axis=0))


def rank_interval(ranked: np.ndarray, confidence: float) -> Interval:
    """As `interval`, in whole ranks that a replicate had."""
    tail = (1 - confidence) / 2
    low = np.quantile(ranked, tail, axis=0, method="inverted_cdf")
    return Interval(low, np.quantile(ranked, 1 - tail, axis=0, method="higher"))


def probability_of_order(ranked: np.ndarray, order: Sequence[int]) -> float:
    """Share of the replicates whose order is exactly `order` (columns from the best), without a tie."""
    return float((ranked[:, list(order)] == np.arange(1, len(order) + 1)).all(1).mean())
