"""Ratings of real votes against evalica's published ones, and the speed-relevant shortcuts against the plain fit.

Golden files: dustalov/evalica, Apache-2.0 (`shared/data/votes/*-golden.csv`). Its `eigen` ranks losers first and is
not offered here; `newman` leaves the scale of strengths free, so both are compared with geometric mean 1.
"""

import csv

import numpy as np
import pytest

from serve.arena import resampling, strength, tables, votes


def of_file(folder, name):
    """Votes, tables and golden scores: method → array in the order of the models."""
    read = votes.read(folder / "votes" / f"{name}.csv")
    scores = {}
    with (folder / "votes" / f"{name}-golden.csv").open() as file:
        for row in csv.DictReader(file):
            scores.setdefault(row["algorithm"], {})[row["item"]] = float(row["score"])
    golden = {method: np.array([found[model] for model in read.models]) for method, found in scores.items()}
    return read, tables.tabulate(tables.cells(read), len(read.models)), golden


@pytest.fixture(scope="module", params=["food", "llmfao"])
def real(request, shared_data):
    return of_file(shared_data, request.param)


@pytest.mark.parametrize("method", ["average_win_rate", "counting", "bradley_terry", "newman", "elo", "pagerank"])
def test_ratings_equal_the_published_ones(real, method):
    read, counts, golden = real
    ours = {
        "average_win_rate": lambda: tables.average_win_rate(counts),
        "counting": lambda: tables.counting(counts),
        "bradley_terry": lambda: strength.shares(strength.fit(counts.points)),
        "newman": lambda: strength.fit_with_ties(counts)[0],
        "elo": lambda: strength.elo(read),
        "pagerank": lambda: tables.page_rank(counts),
    }[method]()
    expected = golden[method]
    if method == "newman":
        expected = expected / np.exp(np.log(expected).mean())
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-9)


def test_gpt_4_has_its_published_strength_rating_and_range(shared_data):
    read, counts, _ = of_file(shared_data, "llmfao")
    theta, i = strength.fit(counts.points), read.models.index("GPT 4")
    assert len(read) == 8931
    assert strength.shares(theta)[i] == pytest.approx(0.0412179, abs=5e-8)
    assert strength.elo(read)[i] == pytest.approx(1095.5935, abs=5e-5)
    assert strength.on_elo_scale(theta)[i] == pytest.approx(1172, abs=0.5)
    replicates = resampling.bradley_terry(read, theta, 300)
    low, high = resampling.interval(strength.on_elo_scale(replicates), 0.95)
    assert (low[i], high[i]) == pytest.approx((1116, 1231), abs=9)  # 1114 and 1232 in the reference
    ranks = resampling.rank_interval(resampling.ranks(replicates), 0.95)
    assert (ranks.low[i], ranks.high[i]) == (1, 3)
    platypus = read.models.index("Platypus-2 Instruct (70B)")
    assert ranks.low[platypus] == pytest.approx(1.5, abs=1)
    assert ranks.high[platypus] == pytest.approx(16, abs=3)


def test_a_replicate_fitted_from_the_kept_information_equals_the_plain_fit(shared_data):
    read, counts, _ = of_file(shared_data, "llmfao")
    theta, cell, k = strength.fit(counts.points), tables.cells(read), len(read.models)
    refit = strength.Refit(counts.points, theta, strength.RIDGE)
    random = np.random.default_rng(0)
    for _ in range(5):
        points = tables.tabulate(random.choice(cell, len(cell)), k).points
        np.testing.assert_allclose(refit(points, 1e-9), strength.fit(points, strength.RIDGE), atol=1e-6)
