"""Strengths that explain the votes best: Bradley–Terry, the same with ties as an outcome of their own, and Elo.

Bradley & Terry 1952: P(i beats j) = p_i / (p_i + p_j) = σ(θ_i − θ_j), a tie counting as half a win for each. Newton's
method finds the maximum of the likelihood. Newman 2023 (JMLR 24:238) has ties in the model, as Davidson 1970:
P(tie) ∝ 2v√(p_i p_j). Elo 1978 updates a rating after each vote, so it depends on their order.
"""

import numpy as np

from serve.arena.tables import Tables
from serve.arena.votes import Votes

RIDGE = 0.01  # weight of a normal prior on θ where the likelihood has no finite maximum: far below that of one vote
TOLERANCE = 1e-12
MOST_STEPS = 60
ELO_PART = 10_000  # votes whose orders are looked up at once: bounds the memory
LONGEST_STEP = 2.0  # in θ; keeps Newton's method from overshooting


def fit(points: np.ndarray, ridge: float = 0.0, tolerance: float = TOLERANCE) -> np.ndarray:
    """Bradley–Terry's θ of each model, with mean 0, from points won by (row) from (column)."""
    games, won = points + points.T, points.sum(1)
    theta = np.zeros(len(points))
    for _ in range(MOST_STEPS):
        expected, variance = _expected(theta, games)
        step = np.linalg.solve(_information(variance, ridge), won - expected.sum(1) - ridge * theta)
        largest = np.abs(step).max()
        theta += step * min(1.0, LONGEST_STEP / max(largest, 1e-300))
        theta -= theta.mean()
        if largest < tolerance:
            break
    return theta


class Refit:
    """Fits many replicates that are close to one fit: Newton's method with that fit's information matrix throughout.

    A step is then a product, not a system of equations. A replicate that does not converge like that, because a model
    has few votes, is fitted by `fit`.
    """

    def __init__(self, points: np.ndarray, theta: np.ndarray, ridge: float) -> None:
        self.theta, self.ridge = theta, ridge
        _, variance = _expected(theta, points + points.T)
        self._inverse = np.linalg.inv(_information(variance, ridge))

    def __call__(self, points: np.ndarray, tolerance: float, most_steps: int = 25) -> np.ndarray:
        games, won, theta = points + points.T, points.sum(1), self.theta.copy()
        before = np.inf
        for _ in range(most_steps):
            odds = np.exp(theta - theta.max())
            share = np.add.outer(odds, odds)
            np.divide(games, share, out=share)
            step = self._inverse @ (won - odds * share.sum(1) - self.ridge * theta)
            theta += step
            largest = np.abs(step).max()
            if largest < tolerance:
                return theta - theta.mean()
            if largest > before:
                break
            before = largest
        return fit(points, self.ridge, tolerance)


def _expected(theta: np.ndarray, games: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points that (row) is expected to win from (column), and their variance."""
    odds = np.exp(theta - theta.max())
    chance = odds[:, None] / (odds[:, None] + odds)
    return games * chance, games * chance * chance.T


def _information(variance: np.ndarray, ridge: float) -> np.ndarray:
    """Minus the second derivative of the log-likelihood, and a term that fixes the mean of θ.

    Without it the matrix is singular: adding the same number to all θ changes no probability.
    """
    k = len(variance)
    pin = max(1.0, variance.sum()) / k**2
    return np.diag(variance.sum(1) + ridge + 1e-12 * pin) - variance + pin


def shares(theta: np.ndarray) -> np.ndarray:
    """Strengths p that sum to 1."""
    odds = np.exp(theta - theta.max())
    return odds / odds.sum()


def on_elo_scale(theta: np.ndarray, scale: float = 400.0, centre: float = 1000.0) -> np.ndarray:
    """400 points are odds of 10 to 1; the mean model has 1000."""
    return centre + scale / np.log(10) * (theta - theta.mean(-1, keepdims=True))


def fit_with_ties(tables: Tables, most_steps: int = 20_000) -> tuple[np.ndarray, float]:
    """Newman's p of each model (geometric mean 1) and v; his iteration, which never lowers the likelihood."""
    points = tables.points
    p, v = np.ones(len(points)), 0.5
    for _ in range(most_steps):
        root, total = np.sqrt(np.outer(p, p)), p[:, None] + p
        chance = total + 2 * v * root
        new = (points * (p + v * root) / chance).sum(1)
        new /= (points.T * (1 + v * np.sqrt(p / p[:, None])) / chance).sum(1)
        wins = 2 * (tables.wins * root / chance).sum()
        new_v = (tables.ties * total / chance).sum() / 2 / wins if wins > 0 else v
        new /= np.exp(np.log(new).mean())
        change = max(np.abs(np.log(new / p)).max(), abs(new_v - v))
        p, v = new, float(new_v)
        if change < TOLERANCE:
            break
    return p, v


def elo(votes: Votes, k: float = 4.0, start: float = 1000.0, scale: float = 400.0) -> np.ndarray:
    """Ratings after the last vote, taking votes in the order of the file."""
    ratings = [start] * len(votes.models)
    for left, right, score in zip(votes.left.tolist(), votes.right.tolist(), votes.score.tolist(), strict=True):
        change = k * (score - 1 / (1 + 10 ** ((ratings[right] - ratings[left]) / scale)))
        ratings[left] += change
        ratings[right] -= change
    return np.array(ratings)


def elo_shuffled(
    votes: Votes, shuffles: int, seed: int = 0, k: float = 4.0, start: float = 1000.0, scale: float = 400.0
) -> np.ndarray:
    """Ratings after the last vote for several random orders, one a row; all orders advance together."""
    random = np.random.default_rng(seed)
    n, models = len(votes), len(votes.models)
    order = np.stack([random.permutation(n).astype(np.int32) for _ in range(shuffles)], 1)
    offset = np.arange(shuffles) * models
    ratings, base = np.full(shuffles * models, start), np.log(10) / scale
    for first in range(0, n, ELO_PART):
        part = order[first : first + ELO_PART]
        columns = (votes.left[part] + offset, votes.right[part] + offset, k * votes.score[part])
        for i, j, won in zip(*columns, strict=True):
            at, its = ratings.take(i), ratings.take(j)
            odds = np.exp((its - at) * base)
            odds += 1
            change = won - k / odds
            ratings[i] = at + change
            ratings[j] = its - change
    return ratings.reshape(shuffles, models)
