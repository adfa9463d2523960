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


def components(points: np.ndarray) -> int:
    """Groups of models without a vote between them: strengths of two groups cannot be compared."""
    return int(csgraph.connected_components((points + points.T) > 0, directed=False)[0])
