"""The four conventions, on published log-likelihoods of a real model (arXiv 2504.07825)."""

import csv
import gzip
import math

import numpy as np
import pytest

from llm_jax.scoring import hellaswag
from llm_jax.scoring.conventions import CONVENTIONS, accuracy, normalise


def published(shared_data, name: str) -> np.ndarray:
    with gzip.open(shared_data / "hellaswag" / "choice-logprobs" / f"{name}.csv.gz", "rt") as file:
        return np.array(list(csv.reader(file))[1:], float)


@pytest.fixture(scope="module")
def items(shared_data):
    return hellaswag.read_items(shared_data / "hellaswag" / "validation.parquet", "plain")


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ("full_prompt/meta-llama--Llama-3.2-1B", 0.6215),  # log-likelihood per token
        ("full_prompt/sum_meta-llama--Llama-3.2-1B", 0.4698),
        ("full_prompt/byte_mean_meta-llama--Llama-3.2-1B", 0.6232),
        ("zero_prompt/meta-llama--Llama-3.2-1B", 0.4692),
    ],
)
def test_published_scores_give_the_published_accuracy(shared_data, items, name, figure):
    estimate = accuracy(published(shared_data, name).tolist(), [item.gold for item in items])
    assert round(estimate.value, 4) == figure
    assert estimate.stderr == pytest.approx(math.sqrt(figure * (1 - figure) / (len(items) - 1)), rel=1e-3)


ACTIVITYNET = 3243  # items from ActivityNet come first; those from WikiHow have lost spaces and brackets in our file


def test_published_sums_over_bytes_are_the_published_byte_means(shared_data, items):
    items = items[:ACTIVITYNET]
    gold = [item.gold for item in items]
    sums = published(shared_data, "full_prompt/sum_meta-llama--Llama-3.2-1B")[:ACTIVITYNET]
    means = published(shared_data, "full_prompt/byte_mean_meta-llama--Llama-3.2-1B")[:ACTIVITYNET]
    # They scored the whole text: the context is part of the sum and of the length.
    texts = [[f"{item.query} {ending}" for ending in item.endings] for item in items]
    scores = [
        [normalise(total, 0, text, "byte") for total, text in zip(row, row_of_texts, strict=True)]
        for row, row_of_texts in zip(sums, texts, strict=True)
    ]
    close = np.isclose(scores, means, rtol=1e-6).all(axis=1)
    assert close.sum() == ACTIVITYNET - 2  # in two items an ending was stripped of a byte
    assert accuracy(scores, gold) == accuracy(means.tolist(), gold)


def test_each_convention_divides_by_its_own_length():
    found = {convention: normalise(-12.0, 3, "café", convention) for convention in CONVENTIONS}
    assert found == {"sum": -12.0, "token mean": -4.0, "character": -3.0, "byte": -2.4}


def test_the_first_of_equal_scores_is_the_choice():
    assert accuracy([[0.0, 0.0], [1.0, 1.0]], [0, 1]).value == 0.5
