"""Count models against counting by hand."""

from collections import Counter

import numpy as np
import pytest

from llm_jax.models import ngram


def witten_bell(text: list[int], history: tuple[int, ...], symbol: int, alphabet: int) -> float:
    """The recursion, written for one probability and without any clever counting."""
    shorter = witten_bell(text, history[1:], symbol, alphabet) if history else 1 / alphabet
    k = len(history)
    after = Counter(text[i + k] for i in range(len(text) - k) if tuple(text[i : i + k]) == history)
    total = sum(after.values())
    if not total:
        return shorter
    return (after[symbol] + len(after) * shorter) / (total + len(after))


def test_interpolation_equals_the_recursion():
    rng = np.random.default_rng(0)
    train, test = rng.integers(0, 4, 60), rng.integers(0, 4, 25)
    model = ngram.fit([train], order=3, alphabet=4)
    expected = [
        witten_bell(train.tolist(), tuple(test[max(0, i - 2) : i].tolist()), int(test[i]), 4) for i in range(len(test))
    ]
    np.testing.assert_allclose(ngram.interpolated(model, test), expected, rtol=1e-12)


@pytest.mark.parametrize("context", [[], [0], [3, 1]])
def test_probabilities_sum_to_one_after_any_context(context):
    train = np.random.default_rng(1).integers(0, 3, 40)  # symbol 3 is never seen
    model = ngram.fit([train], order=3, alphabet=4)
    total = sum(ngram.interpolated(model, np.array([*context, symbol]))[-1] for symbol in range(4))
    assert total == pytest.approx(1)


def test_additive_smoothing_counts():
    model = ngram.fit([np.array([0, 1, 0, 1, 0, 2])], order=2, alphabet=3)
    found = ngram.additive(model, np.array([0, 1, 0, 2]), alpha=0.5)
    np.testing.assert_allclose(found, [(2 + 0.5) / (3 + 1.5), (2 + 0.5) / (2 + 1.5), (1 + 0.5) / (3 + 1.5)])


def test_no_ngram_reaches_across_two_sequences():
    apart = ngram.fit([np.array([0, 1]), np.array([2, 0])], order=2, alphabet=3)
    assert apart.seen[1].look_up(np.array([1 * 3 + 2], np.uint64)) == 0
    assert apart.seen[1].look_up(np.array([0 * 3 + 1, 2 * 3 + 0], np.uint64)).tolist() == [1, 1]


def test_an_order_beyond_every_sequence_says_what_the_longest_order_seen_says():
    sequences, text = [np.array([0, 1]), np.zeros(0, int), np.array([1, 2])], np.array([0, 1, 2, 1])
    known = ngram.fit(sequences, order=2, alphabet=3)
    model = ngram.fit(sequences, order=5, alphabet=3)
    np.testing.assert_array_equal(ngram.interpolated(model, text), ngram.interpolated(known, text))
    np.testing.assert_allclose(ngram.next_symbol(model, text, alpha=0.5), 1 / 3)


@pytest.mark.parametrize("sequences", [[], [np.zeros(0, int)], 2 * [np.zeros(0)]], ids=str)
def test_counting_nothing_is_refused(sequences):
    with pytest.raises(ValueError, match="there is nothing to count"):
        ngram.fit(sequences, order=2, alphabet=3)


def test_symbols_outside_the_alphabet_are_refused():
    with pytest.raises(ValueError, match="0…2; got 0…3"):
        ngram.fit([np.array([0, 3])], order=1, alphabet=3)
    with pytest.raises(ValueError, match="at most 2\\^63"):
        ngram.fit([np.array([0])], order=9, alphabet=256)
