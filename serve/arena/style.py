"""What decides a vote besides the models: the side on which an answer stands, its length, other properties of style.

Bradley–Terry as a logistic regression with more terms, as LMArena's style control (Li et al. 2024):

    log odds(left wins) = θ_left − θ_right + γ + Σ_c β_c·x_c,   x_c = (left_c − right_c)/(left_c + right_c), over its sd

γ is what the left side gains; β what one standard deviation of the difference in c gains, in log-odds. A tie is half a
win for each. With these terms, strengths compare answers of equal style without an effect of the side.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse, special, stats

from serve.arena.strength import LONGEST_STEP, RIDGE
from serve.arena.votes import Votes

SIDE = "left side"


class Effect(NamedTuple):
    """A coefficient in log-odds."""

    name: str
    value: float
    stderr: float
    p_value: float  # of no effect (Wald)


class Controlled(NamedTuple):
    """Strengths with the terms of style in the model, and those terms."""

    theta: np.ndarray
    effects: list[Effect]


def control(votes: Votes, ridge: float = RIDGE) -> Controlled:
    """Fits θ, γ and β by Newton's method, with the weak prior of the bootstrap."""
    k, n = len(votes.models), len(votes)
    properties = {name: x for name, pair in votes.style.items() if (x := _difference(*pair)) is not None}
    rows = np.arange(n)
    sides = sparse.csr_matrix((np.ones(n), (rows, votes.left)), (n, k))
    sides -= sparse.csr_matrix((np.ones(n), (rows, votes.right)), (n, k))
    design = sparse.csr_matrix(sparse.hstack([sides, np.column_stack([np.ones(n), *properties.values()])]))
    prior = np.full(k + 1 + len(properties), ridge)
    weights = np.zeros_like(prior)
    information = np.eye(len(weights))
    for _ in range(60):
        chance = special.expit(design @ weights)
        gradient = design.T @ (votes.score - chance) - prior * weights
        information = (design.T @ design.multiply((chance * (1 - chance))[:, None])).toarray() + np.diag(prior)
        step = np.linalg.solve(information, gradient)
        largest = np.abs(step).max()
        weights += step * min(1.0, LONGEST_STEP / max(largest, 1e-300))
        if largest < 1e-10:
            break
    errors = np.sqrt(np.diag(np.linalg.inv(information)))
    effects = [
        Effect(name, float(value), float(error), float(2 * stats.norm.sf(abs(value / error))))
        for name, value, error in zip((SIDE, *properties), weights[k:], errors[k:], strict=True)
    ]
    return Controlled(weights[:k] - weights[:k].mean(), effects)


def _difference(left: np.ndarray, right: np.ndarray) -> np.ndarray | None:
    """The relative difference over its standard deviation; None where all differences are equal."""
    total = np.abs(left) + np.abs(right)
    relative = np.divide(left - right, total, out=np.zeros_like(total), where=total > 0)
    return relative / relative.std() if relative.std() > 0 else None
