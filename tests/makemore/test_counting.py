"""The count models against the published losses and against Python's Counter."""

import math
from collections import Counter

import numpy as np
import pytest
from forms import forms

from llm_jax.models import ngram
from train.first_principles.makemore import counting


def test_bigram_loss_of_all_names_is_the_published_one(names):
    """2.454014 over all 228,146 bigrams, 2.454577 with one added to each (first makemore lecture, in order)."""
    assert counting.fit(names, 2, 0.1).losses["all"] == pytest.approx(2.454014, abs=5e-7)
    everything = ngram.fit(counting.framed(names.all, 2), 2, names.vocab_size)
    assert counting.loss(everything, names.all, smoothing=1.0) == pytest.approx(2.454577, abs=5e-7)


@pytest.mark.parametrize(("order", "dev"), forms([(3, 2.2225), (4, 2.1018), (5, 2.1522)], [(3, 2.2225)]))
def test_longer_counts_reach_the_published_dev_losses(names, order, dev):
    """`shared/references.md`: recomputed from names.txt, α = 0.1, counted on the training split."""
    assert counting.fit(names, order, 0.1).losses["dev"] == pytest.approx(dev, abs=5e-5)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_losses_equal_counting_with_a_dictionary(data, order):
    pad = (0,) * (order - 1)

    def pairs(part):
        texts = [(*pad, *line, 0) for line in part]
        return [(text[i - order + 1 : i], text[i]) for text in texts for i in range(order - 1, len(text))]

    seen = Counter(pairs(data.splits["train"]))
    after = Counter(context for context, _ in pairs(data.splits["train"]))
    v = data.vocab_size
    expected = -np.mean([math.log((seen[h, c] + 0.5) / (after[h] + 0.5 * v)) for h, c in pairs(data.splits["dev"])])
    assert counting.fit(data, order, 0.5).losses["dev"] == pytest.approx(expected, rel=1e-12)


def test_without_smoothing_what_was_never_seen_is_infinitely_surprising(data):
    assert counting.fit(data, 6, 0.0).losses["dev"] == math.inf


def test_next_symbols_are_the_training_frequencies(data):
    counted = counting.fit(data, 2, 0.0)
    starts = Counter(int(line[0]) for line in data.splits["train"])
    expected = [starts[symbol] / len(data.splits["train"]) for symbol in range(data.vocab_size)]
    np.testing.assert_allclose(np.exp(counted.log_probabilities(np.array([[0]])))[0], expected)


def test_a_context_never_seen_has_no_unsmoothed_next_symbol(data):
    counted = counting.fit(data, 4, 0.0)
    with pytest.raises(ValueError, match="'aaa' was never seen in the training lines"):
        counted.log_probabilities(np.array([[0, 1, 1, 1]]))
