"""Votes → everything that the terminal, the JSON file and the page show."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from serve.arena import findings, resampling, strength, style, tables
from serve.arena.config import Settings
from serve.arena.votes import Votes

FORMAT = 1
CONFIDENCES = (0.5, 0.8, 0.9, 0.95, 0.99)


def analyse(votes: Votes, settings: Settings, source: str) -> dict[str, Any]:
    """The record that is shown and written. Raises ValueError where fewer than two models are left."""
    votes, left_out = _kept(votes, settings.min_votes)
    counts = tables.tabulate(tables.cells(votes), len(votes.models))
    is_finite, is_open = tables.has_finite_maximum(counts.points), tables.open_ends(counts.points)
    theta = strength.fit(counts.points, 0.0 if is_finite else strength.RIDGE)
    replicates = resampling.bradley_terry(votes, theta, settings.bootstraps, settings.seed)
    methods = _methods(votes, counts, theta, settings)
    with_style = style.control(votes)
    methods["style-controlled"] = strength.on_elo_scale(with_style.theta)
    order = np.argsort(-theta, kind="stable")
    ties = float((votes.score == 0.5).mean())
    return {
        "format": FORMAT,
        "source": source,
        "votes": len(votes),
        "models": len(votes.models),
        "ties": ties,
        "left_out": left_out,
        "clusters": None if votes.cluster is None else int(votes.cluster.max()) + 1,
        "settings": {"bootstraps": settings.bootstraps, "shuffles": settings.shuffles, "k": settings.k},
        "confidence": settings.confidence,
        "finite_maximum": is_finite,
        "open_models": int((is_open.low | is_open.high).sum()),
        "groups_without_votes_between": tables.components(counts.points),
        # Where the likelihood has no maximum, the weak prior decides the order of a replicate, not the votes.
        "probability_of_order": resampling.probability_of_order(resampling.ranks(replicates), order.tolist())
        if is_finite
        else None,
        "left_wins": _dictionary(findings.left_share(votes)),
        "effects": [effect._asdict() for effect in with_style.effects],
        "circles": _dictionary(findings.circles(votes.models, counts, theta, settings.seed)),
        "table": _rows(votes, counts, replicates, is_open, methods, order, sorted({*CONFIDENCES, settings.confidence})),
        "adjacent": _adjacent(votes, theta, order, ties, tables.same_scale(counts.points)),
    }


def _kept(votes: Votes, least: int) -> tuple[Votes, list[str]]:
    """The votes between models that have at least `least` of these votes, and the names of the other models."""
    left_out: list[str] = []
    while True:
        is_kept = np.bincount(np.r_[votes.left, votes.right], minlength=len(votes.models)) >= least
        if is_kept.sum() < 2:
            raise ValueError(f"fewer than two models have {least} votes against each other: lower --min-votes")
        if is_kept.all():
            return votes, left_out
        left_out += [name for name, one in zip(votes.models, is_kept, strict=True) if not one]
        votes = _between(votes, is_kept)


def _between(votes: Votes, is_kept: np.ndarray) -> Votes:
    """The votes in which both models are kept; models are numbered again."""
    rows, renumbered = is_kept[votes.left] & is_kept[votes.right], np.cumsum(is_kept) - 1
    return Votes(
        tuple(name for name, one in zip(votes.models, is_kept, strict=True) if one),
        renumbered[votes.left[rows]],
        renumbered[votes.right[rows]],
        votes.score[rows],
        {name: (left[rows], right[rows]) for name, (left, right) in votes.style.items()},
        None if votes.cluster is None else np.unique(votes.cluster[rows], return_inverse=True)[1],
    )


def _methods(votes: Votes, counts: tables.Tables, theta: np.ndarray, settings: Settings) -> dict[str, np.ndarray]:
    shuffled = strength.elo_shuffled(votes, settings.shuffles, settings.seed, settings.k)
    found = {
        "bradley-terry": strength.on_elo_scale(theta),
        "bradley-terry share": strength.shares(theta),
        "elo": strength.elo(votes, settings.k),
        "elo shuffled": shuffled.mean(0),
        "elo shuffled sd": shuffled.std(0),
        "win rate": tables.average_win_rate(counts),
        "points": tables.counting(counts),
        "pagerank": tables.page_rank(counts),
    }
    if tables.has_finite_maximum(counts.points):
        with_ties, _ = strength.fit_with_ties(counts)
        found["with ties"] = strength.on_elo_scale(np.log(with_ties))
    return found


def _rows(
    votes: Votes,
    counts: tables.Tables,
    replicates: np.ndarray,
    is_open: tables.OpenEnds,
    methods: dict[str, np.ndarray],
    order: np.ndarray,
    confidences: Sequence[float],
) -> list[dict[str, Any]]:
    """A row for each model, the strongest first. None: an end that the votes leave open, ranks that rest on it."""
    ratings = strength.on_elo_scale(replicates)
    is_closed = ~(is_open.low | is_open.high)
    # An open model may stand anywhere: the others are ranked without it, and it may stand above each of them.
    ranked, place = resampling.ranks(replicates[:, is_closed]), np.cumsum(is_closed) - 1
    n_open = int((~is_closed).sum())
    intervals = {
        confidence: (resampling.interval(ratings, confidence), resampling.rank_interval(ranked, confidence))
        for confidence in confidences
    }
    games = (counts.wins + counts.wins.T + counts.ties).sum(1)
    return [
        {
            "model": votes.models[i],
            "votes": int(games[i]),
            "wins": int(counts.wins[i].sum()),
            "ties": int(counts.ties[i].sum()),
            "scores": {name: float(values[i]) for name, values in methods.items()},
            "intervals": {
                f"{confidence}": {
                    "rating": [
                        None if is_open.low[i] else float(rating.low[i]),
                        None if is_open.high[i] else float(rating.high[i]),
                    ],
                    "rank": [int(rank.low[place[i]]), int(rank.high[place[i]]) + n_open] if is_closed[i] else None,
                }
                for confidence, (rating, rank) in intervals.items()
            },
        }
        for i in order
    ]


def _adjacent(
    votes: Votes, theta: np.ndarray, order: np.ndarray, ties: float, same_scale: np.ndarray
) -> list[dict[str, Any]]:
    """For each two neighbours in the order: the votes between them that would tell them apart."""
    found = []
    for better, worse in itertools.pairwise(order):
        between = ((votes.left == better) & (votes.right == worse)) | ((votes.left == worse) & (votes.right == better))
        is_finite = bool(same_scale[better, worse])
        needed = findings.votes_needed(float(theta[better] - theta[worse]), ties) if is_finite else np.inf
        found.append(
            {
                "better": votes.models[better],
                "worse": votes.models[worse],
                "votes_needed": round(needed) if np.isfinite(needed) else None,
                "finite_difference": is_finite,
                "votes_between": int(between.sum()),
            }
        )
    return found


def _dictionary(value: Any) -> dict[str, Any] | None:
    return None if value is None else value._asdict()
