"""The lattice of one text: its best, n best and drawn segmentations, against all segmentations written out."""

import math
import random
from collections import Counter
from itertools import combinations, pairwise

import pytest

from llm_jax.tokenizer.unigram.lattice import UNKNOWN_PENALTY, Lattice

# sentencepiece's own test: the better the longer the piece, so the order is that of the paths' scores.
ABC = {"A": 0.0, "B": 0.0, "C": 0.1, "AB": 2.0, "BC": 5.0, "ABC": 10.0}
# The corpus of Hugging Face's course: hug 10, pug 5, pun 12, bun 4, hugs 5, every substring of its words but those of
# one occurrence at the end; the counts add up to 210.
COURSE = {"h": 15, "u": 36, "g": 20, "hu": 15, "ug": 20, "p": 17, "pu": 17, "n": 16, "un": 16, "b": 4, "bu": 4}
COURSE |= {"s": 5, "hug": 15, "gs": 5, "ugs": 5}
WORDS = {"hug": 10, "pug": 5, "pun": 12, "bun": 4, "hugs": 5}


def spelled(text: str, path) -> list[str]:
    return [text[edge.start : edge.stop] for edge in path]


def all_segmentations(text: str, scores: dict[str, float]) -> dict[tuple[str, ...], float]:
    found = {}
    for n_cuts in range(len(text)):
        for cuts in combinations(range(1, len(text)), n_cuts):
            borders = (0, *cuts, len(text))
            pieces = tuple(text[a:b] for a, b in pairwise(borders))
            if all(piece in scores for piece in pieces):
                found[pieces] = sum(scores[piece] for piece in pieces)
    return found


def test_the_four_best_paths_of_abc_are_those_of_sentencepiece():
    found = Lattice("ABC", ABC).n_best(10)
    assert [" ".join(spelled("ABC", path)) for path, _ in found] == ["ABC", "A BC", "AB C", "A B C"]
    assert [score for _, score in found] == pytest.approx([10.0, 5.0, 2.1, 0.1])


def test_n_best_are_all_segmentations_in_order_of_probability():
    generator = random.Random(3)
    text = "abcabca"
    pieces = {text[a:b] for a in range(len(text)) for b in range(a + 1, min(a + 4, len(text)) + 1)}
    scores = {piece: -5 * generator.random() for piece in pieces}
    expected = all_segmentations(text, scores)
    found = Lattice(text, scores).n_best(10_000)
    assert {tuple(spelled(text, path)): score for path, score in found} == pytest.approx(expected)
    assert [score for _, score in found] == pytest.approx(sorted(expected.values(), reverse=True))
    assert Lattice(text, scores).best() == found[0][0]
    total = math.log(sum(map(math.exp, expected.values())))
    assert Lattice(text, scores).forward()[-1] == pytest.approx(total)


def test_the_best_path_is_not_that_of_the_longest_match():
    scores = {"un": -2.0, "und": -3.0, "do": -2.5, "d": -6.0, "o": -6.0, "u": -6.0, "n": -6.0}
    assert spelled("undo", Lattice("undo", scores).best()) == ["un", "do"]  # greedily: und, o


def test_a_character_that_is_no_piece_is_its_own_edge_worse_than_every_piece():
    lattice = Lattice("aéb", {"a": -1.0, "b": -2.0})
    assert [(edge.is_known, edge.score) for edge in lattice.best()] == [
        (True, -1.0),
        (False, -2.0 - UNKNOWN_PENALTY),
        (True, -2.0),
    ]


def test_drawn_segmentations_have_the_frequencies_of_their_probabilities():
    scores = {"a": -1.0, "b": -1.5, "ab": -2.0}
    lattice, generator = Lattice("abab", scores), random.Random(0)
    expected = all_segmentations("abab", scores)
    for sharpness in (1.0, 0.3):
        weights = {pieces: math.exp(sharpness * score) for pieces, score in expected.items()}
        drawn = Counter(tuple(spelled("abab", lattice.sample(generator, sharpness))) for _ in range(4000))
        for pieces, weight in weights.items():
            assert drawn[pieces] / 4000 == pytest.approx(weight / sum(weights.values()), abs=0.03)


def loss(counts: dict[str, int]) -> float:
    total = sum(counts.values())
    scores = {piece: math.log(count / total) for piece, count in counts.items()}
    return -sum(n * sum(edge.score for edge in Lattice(word, scores).best()) for word, n in WORDS.items())


def test_the_loss_of_the_course_is_169_point_8_and_without_hug_23_point_5_more():
    assert sum(COURSE.values()) == 210
    assert loss(COURSE) == pytest.approx(169.8, abs=0.05)
    # The course leaves the counts of the other pieces, and their sum, as they are.
    total = sum(COURSE.values())
    scores = {piece: math.log(count / total) for piece, count in COURSE.items() if piece != "hug"}
    without = -sum(n * sum(edge.score for edge in Lattice(word, scores).best()) for word, n in WORDS.items())
    assert without - loss(COURSE) == pytest.approx(23.51, abs=0.05)
