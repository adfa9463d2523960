"""The two formulas of training by themselves: the score of a piece, and what the corpus loses without it."""

import math

import numpy as np
import pytest

from llm_jax.tokenizer.unigram.lattice import Lattice
from llm_jax.tokenizer.unigram.lattices import Lattices
from llm_jax.tokenizer.unigram.pruning import losses
from llm_jax.tokenizer.unigram.train import digamma, maximise


def test_a_score_is_digamma_of_the_count_less_digamma_of_the_sum_over_living_pieces():
    found = maximise(np.array([2.0, 3.0, 0.4]), np.array([True, True, False]))
    psi = {2: 1 - 0.57721566, 3: 1.5 - 0.57721566, 5: 1 + 1 / 2 + 1 / 3 + 1 / 4 - 0.57721566}
    assert found == pytest.approx([psi[2] - psi[5], psi[3] - psi[5], 0.0], abs=1e-7)
    assert digamma(np.array([5.0]))[0] == pytest.approx(psi[5], abs=1e-7)


def test_the_loss_moves_the_frequency_of_a_piece_to_its_parts():
    frequency = np.array([10.0, 4.0, 6.0, 3.0])
    found = losses(frequency, np.array([1, 0]), np.array([2, 3, 3, 3, 3]), np.array([0, 0, 1, 1, 1]), 20.0)
    piece_1 = 4 / 20 * (math.log(4 / 23) - math.log((6 + 4) / (23 + 4)) - math.log((3 + 4) / (23 + 4)))
    piece_0 = 10 / 20 * (math.log(10 / 23) - 3 * math.log((3 + 10) / (23 + 2 * 10)))
    assert found == pytest.approx([piece_1, piece_0])


def test_all_words_at_once_give_what_one_lattice_gives():
    """Expected counts are the sum over segmentations of probability · count; the best ones are Viterbi's."""
    scores = {"a": -1.0, "b": -1.5, "ab": -2.2, "ba": -2.0, "aba": -3.1}
    words, counts = ["abab", "ba", "aababa"], np.array([2.0, 3.0, 1.0])
    pieces = list(scores)
    lengths = np.array([len(word) for word in words])
    begins = np.concatenate(([0], np.cumsum(lengths + 1)[:-1]))
    edges = [
        (begin + place, begin + place + len(piece), number)
        for begin, word in zip(begins, words, strict=True)
        for number, piece in enumerate(pieces)
        for place in range(len(word))
        if word.startswith(piece, place)
    ]
    lattices = Lattices.of(*map(np.array, zip(*edges, strict=True)), begins, lengths, counts)
    values = np.array([*scores.values()])
    expected, total = np.zeros(len(pieces)), 0.0
    best = np.zeros(len(pieces))
    for word, count in zip(words, counts, strict=True):
        lattice = Lattice(word, scores)
        weight = lattice.forward()[-1]
        total += count * weight
        for path, score in lattice.n_best(1000):
            for edge in path:
                expected[pieces.index(word[edge.start : edge.stop])] += count * math.exp(score - weight)
        for edge in lattice.best():
            best[pieces.index(word[edge.start : edge.stop])] += count
    found, log_likelihood = lattices.expect(values)
    assert found == pytest.approx(expected)
    assert log_likelihood == pytest.approx(total)
    assert lattices.best(values).counts == pytest.approx(best)
