"""Findings about a ranking: sides, circles of three models, and pairs that too few votes tell apart."""

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from serve.arena.tables import Tables
from serve.arena.votes import Votes

LISTED_MODELS = 300  # up to here circles are listed by name; their number is known for any
DRAWS = 50


class Share(NamedTuple):
    """A part of a number of votes, with its 95 % interval (Clopper & Pearson 1934) and the p-value of one half."""

    share: float
    low: float
    high: float
    n: int
    p_value: float


def left_share(votes: Votes) -> Share | None:
    """How often the left answer wins, of the votes that are no tie; None where all are."""
    decided = votes.score[votes.score != 0.5]
    if not len(decided):
        return None
    test = stats.binomtest(int(decided.sum()), len(decided))
    low, high = test.proportion_ci(0.95)
    return Share(float(decided.mean()), float(low), float(high), len(decided), float(test.pvalue))


class Circles(NamedTuple):
    """Triples of models with a majority in each of their three pairs."""

    triples: int
    circular: int  # a beats b, b beats c, c beats a
    expected: float  # circles that chance makes where Bradley–Terry is right, given as many votes
    strongest: list[tuple[str, str, str, int]]  # a > b > c > a, and the smallest of the three margins in votes


def circles(models: tuple[str, ...], tables: Tables, theta: np.ndarray, seed: int = 0, most: int = 5) -> Circles:
    """Counts circles, and those in votes simulated from the strengths `theta`."""
    margin = tables.wins - tables.wins.T
    beats = margin > 0
    triples, circular = _count(beats)
    decided = np.triu(tables.wins + tables.wins.T, 1).astype(np.int64)
    chance = 1 / (1 + np.exp(theta - theta[:, None]))
    random, simulated = np.random.default_rng(seed), []
    for _ in range(DRAWS if len(theta) <= LISTED_MODELS else 3):
        won = random.binomial(decided, chance)
        difference = np.triu(2 * won - decided, 1)
        simulated.append(_count(difference - difference.T > 0)[1])
    strongest = _strongest(margin, most) if len(theta) <= LISTED_MODELS else []
    return Circles(
        triples, circular, float(np.mean(simulated)), [(models[a], models[b], models[c], m) for a, b, c, m in strongest]
    )


def _count(beats: np.ndarray) -> tuple[int, int]:
    """Triples with three decided pairs, and the circles among them: each is counted thrice on the diagonal of A³."""
    a = beats.astype(float)
    both = a + a.T
    return round(np.einsum("ij,ji->", both @ both, both) / 6), round(np.einsum("ij,ji->", a @ a, a) / 3)


def _strongest(margin: np.ndarray, most: int) -> list[tuple[int, int, int, int]]:
    """Circles a > b > c > a with the largest smallest margin; `a` is the first of the three."""
    found: list[tuple[int, int, int, int]] = []
    positive = np.maximum(margin, 0)
    for a in range(len(margin)):
        # b beats c; only circles whose smallest number is `a`, so each is found once.
        smallest = np.minimum(np.minimum(positive[a][:, None], positive), positive[:, a][None, :])
        smallest[: a + 1] = 0
        smallest[:, : a + 1] = 0
        top = np.argpartition(smallest, -min(most, smallest.size), axis=None)[-most:]
        found += [(a, int(i) // len(margin), int(i) % len(margin), int(smallest.flat[i])) for i in top]
    return sorted((one for one in found if one[3] > 0), key=lambda one: -one[3])[:most]


def votes_needed(difference: float, ties: float, power: float = 0.8, level: float = 0.05) -> float:
    """Votes between two models, whose θ differ by `difference`, until a two-sided test finds it (Fleiss et al. 2003).

    n = (z_level √v0 + z_power √v1)² / (s − ½)², with s = σ(difference) the expected score and v0, v1 its variance
    without and with the difference; the share `ties` of votes scores ½. Infinite where the models are equal.
    """
    score = 1 / (1 + math.exp(-abs(difference)))
    if score == 0.5:
        return math.inf
    ties = min(ties, 2 * (1 - score))  # more ties than this leave no room for a difference
    without, with_it = (1 - ties) / 4, score - ties / 4 - score**2
    z_level, z_power = stats.norm.isf(level / 2), stats.norm.isf(1 - power)
    return float(((z_level * math.sqrt(without) + z_power * math.sqrt(max(with_it, 0))) / (score - 0.5)) ** 2)
