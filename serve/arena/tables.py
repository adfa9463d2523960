"""Votes → tables of model × model: wins, ties, and what can be read from them without a model of strength."""

from typing import NamedTuple

import numpy as np
from scipy.sparse import csgraph

from serve.arena.votes import Votes


class Tables(NamedTuple):
    """Counts of the row's model against the column's."""

    wins: np.ndarray
    ties: np.ndarray  # symmetric

    @property
    def points(self) -> np.ndarray:
        """Wins, and half of the ties."""
        return self.wins + self.ties / 2


def cells(votes: Votes) -> np.ndarray:
    """Each vote's place in a flat list of K² decided and K² tied cells; `tabulate` counts them."""
    k = len(votes.models)
    winner = np.where(votes.score < 0.5, votes.right, votes.left)
    loser = np.where(votes.score < 0.5, votes.left, votes.right)
    return (winner * k + loser + k * k * (votes.score == 0.5)).astype(np.int64)


def tabulate(cell_of_vote: np.ndarray, k: int, weights: np.ndarray | None = None) -> Tables:
    counts = np.bincount(cell_of_vote, weights, minlength=2 * k * k).astype(float)
    wins, ties = counts.reshape(2, k, k)
    return Tables(wins, ties + ties.T)


def average_win_rate(tables: Tables) -> np.ndarray:
    """Mean over opponents of the share of points won from each; ties count a half."""
    points = tables.points
    games = points + points.T
    rates = np.divide(points, games, out=np.zeros_like(points), where=games > 0)
    return rates.sum(1) / np.maximum((games > 0).sum(1), 1)


def counting(tables: Tables) -> np.ndarray:
    """Points: a win counts 1, a tie ½."""
    return tables.points.sum(1)


def page_rank(tables: Tables, damping: float = 0.85) -> np.ndarray:
    """The stationary distribution of a reader who goes from a model to one that has beaten it (Brin & Page 1998)."""
    flow = tables.points.T.copy()
    k = len(flow)
    flow[flow.sum(1) == 0] = 1
    flow /= flow.sum(1, keepdims=True)
    rank = np.full(k, 1 / k)
    while True:  # each round shrinks the error by `damping`
        before, rank = rank, damping * (rank @ flow) + (1 - damping) / k
        if np.abs(rank - before).sum() < 1e-13:
            return rank


def has_finite_maximum(points: np.ndarray) -> bool:
    """Whether the likelihood has a finite maximum: chains of wins lead from each model to each (Ford 1957)."""
    return csgraph.connected_components(points > 0, connection="strong")[0] == 1


class OpenEnds(NamedTuple):
    """For each model, whether the votes leave an end of its strength without a bound."""

    low: np.ndarray
    high: np.ndarray


def open_ends(points: np.ndarray) -> OpenEnds:
    """Which strengths grow or fall without end as the likelihood does (Ford 1957).

    Models that chains of wins lead between in both directions have finite differences. Of each group of models with
    votes between them, the set with the most votes of its own is the reference. A model with a chain of wins to it and
    none back is open above, and the reverse open below; one without either is open at both ends. Where no set has a
    vote of its own, every model is open towards those that it can only win from, or only lose to.
    """
    n, part = csgraph.connected_components(points > 0, connection="strong")
    if n == 1:
        return OpenEnds(np.zeros(len(points), bool), np.zeros(len(points), bool))
    member = np.eye(n, dtype=np.float32)[part]
    between = member.T @ points @ member
    reaches = between > 0
    while True:  # each round doubles the length of the chains
        step = reaches.astype(np.float32)
        longer = reaches | (step @ step > 0)
        if (longer == reaches).all():
            break
        reaches = longer
    np.fill_diagonal(reaches, False)
    group = csgraph.connected_components(between > 0, directed=False)[1]
    low, high = np.asarray(reaches.any(0)), np.asarray(reaches.any(1))
    for number in range(group.max() + 1):
        parts = np.flatnonzero(group == number)
        reference = parts[np.diag(between)[parts].argmax()]
        if between[reference, reference]:
            low[parts], high[parts] = reaches[reference, parts], reaches[parts, reference]
            is_apart = ~(low[parts] | high[parts]) & (parts != reference)
            low[parts] |= is_apart
            high[parts] |= is_apart
    return OpenEnds(low[part], high[part])


def same_scale(points: np.ndarray) -> np.ndarray:
    """Of each two models, whether their strengths have a finite difference."""
    part = csgraph.connected_components(points > 0, connection="strong")[1]
    return part[:, None] == part


def components(points: np.ndarray) -> int:
    """Groups of models without a vote between them: strengths of two groups cannot be compared."""
    return int(csgraph.connected_components((points + points.T) > 0, directed=False)[0])
