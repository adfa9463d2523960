"""Skip-gram against word2vec.c's loops, counts against their formulas, exact search against sorting."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.models.embeddings import batches, counting, nearest, skip_gram, training, vocabulary
from llm_jax.models.embeddings import lookup as lookups
from llm_jax.models.embeddings.config import SkipGramConfig
from llm_jax.models.embeddings.skip_gram import SkipGram
from llm_jax.models.embeddings.vectors import Vectors
from llm_jax.models.embeddings.vocabulary import Text, Vocabulary

WIDTH, WINDOW, K = 4, 2, 3
SIZE = 12


def test_a_lookup_is_the_product_with_a_one_hot_vector_and_so_is_its_gradient():
    table, ids = jax.random.normal(jax.random.key(0), (5, 3)), jnp.array([[1, 4], [1, 0]])
    np.testing.assert_allclose(lookups.lookup(table, ids), lookups.one_hot_product(table, ids), rtol=1e-6)
    dy = jax.random.normal(jax.random.key(1), (2, 2, 3))
    by_jax = [jax.grad(lambda E, f=f: (f(E, ids) * dy).sum())(table) for f in (lookups.lookup, lookups.one_hot_product)]
    by_hand = lookups.lookup_gradient(dy, ids, 5)
    np.testing.assert_allclose(by_jax[0], by_hand, rtol=1e-6)
    np.testing.assert_allclose(by_jax[1], by_hand, rtol=1e-5)
    np.testing.assert_allclose(by_hand[1], dy[0, 0] + dy[1, 0], rtol=1e-6)  # a row that occurs twice gets the sum
    assert not by_hand[2:4].any()


@pytest.fixture(scope="module")
def block():
    """Two streams of six positions with a halo of two, two sentences in the first, padding in the second."""
    random = np.random.default_rng(0)
    ids = random.integers(0, SIZE, (2, 10)).astype(np.int32)
    sentences = np.array([[0, 0, 0, 0, 1, 1, 1, 1, 1, 1], [5, 5, 5, 5, 5, 5, 5, 5, -1, -1]], np.int32)
    windows = np.array([[1, 2, 2, 1, 2, 2], [2, 1, 2, 2, 2, 0]], np.int32)
    tables = random.normal(0, 0.5, (2, SIZE, WIDTH)).astype(np.float32)
    return ids, sentences, windows, SkipGram(*map(jnp.asarray, tables))


def by_loops(block, negatives_of, weight, rate):
    """word2vec.c's loops; every pair sees the vectors from before the block."""
    ids, sentences, windows, params = block
    old, (new_x, new_y) = params, (np.array(params.neighbour), np.array(params.middle))
    for g in range(2):
        for c in range(6):
            at = c + WINDOW
            for distance in range(-windows[g, c], windows[g, c] + 1):
                place = at + distance
                if distance == 0 or sentences[g, place] != sentences[g, at]:
                    continue
                x, y = ids[g, place], ids[g, at]
                targets = [(y, 1, 1.0)]
                targets += [(n, 0, weight) for n in negatives_of(g, c, distance) if n != y]
                for target, label, w in targets:
                    score = float(old.neighbour[x] @ old.middle[target])
                    step = rate * w * (label - 1 / (1 + math.exp(-score)))
                    new_x[x] += step * np.asarray(old.middle[target])
                    new_y[target] += step * np.asarray(old.neighbour[x])
    return new_x, new_y


def pairs_of(block):
    return skip_gram.neighbours(jnp.asarray(block[1]), jnp.asarray(block[2]), WINDOW)


def test_shared_negatives_update_as_word2vec_does(block):
    drawn = np.random.default_rng(1).integers(0, SIZE, (2, 5)).astype(np.int32)
    expected = by_loops(block, lambda g, c, d: drawn[g], K / 5, 0.1)
    found = jax.jit(skip_gram.shared_step, static_argnums=5)(
        block[3], jnp.asarray(block[0]), pairs_of(block), jnp.asarray(drawn), jnp.float32(0.1), K
    )
    np.testing.assert_allclose(found.neighbour, expected[0], atol=1e-5)
    np.testing.assert_allclose(found.middle, expected[1], atol=1e-5)


def test_negatives_of_each_pair_update_as_word2vec_does(block):
    drawn = np.random.default_rng(2).integers(0, SIZE, (2, 6, 2 * WINDOW, K)).astype(np.int32)
    place = {-2: 0, -1: 1, 1: 2, 2: 3}
    expected = by_loops(block, lambda g, c, d: drawn[g, c, place[d]], 1.0, 0.1)
    found = jax.jit(skip_gram.each_step)(
        block[3], jnp.asarray(block[0]), pairs_of(block), jnp.asarray(drawn), jnp.float32(0.1)
    )
    np.testing.assert_allclose(found.neighbour, expected[0], atol=1e-5)
    np.testing.assert_allclose(found.middle, expected[1], atol=1e-5)


def test_an_update_follows_the_gradient_of_the_pairs_loss():
    tables = SkipGram(*jax.random.normal(jax.random.key(0), (2, 4, WIDTH)))
    ids, drawn = jnp.array([[0, 1, 0]]), jnp.array([[[[2, 3], [0, 0]]]])
    is_pair = jnp.array([[[True], [False], [False]]])
    after = skip_gram.each_step(tables, ids, is_pair, drawn, jnp.float32(1.0))

    def loss(params):
        return skip_gram.pair_loss(params.neighbour[0], params.middle[1], params.middle[jnp.array([2, 3])])

    slope = jax.grad(loss)(tables)
    for found, before, gradient in zip(*map(jax.tree.leaves, (after, tables, slope)), strict=True):
        np.testing.assert_allclose(found, before - gradient, atol=1e-5)


def test_words_are_kept_and_drawn_as_in_word2vec():
    words = Vocabulary(("a", "b", "c"), np.array([900, 90, 10]))
    f, t = 0.9, 1e-3
    assert words.kept(t)[0] == pytest.approx((math.sqrt(f / t) + 1) * t / f)
    assert words.kept(1.0).tolist() == [1, 1, 1]
    power = np.array([900, 90, 10]) ** 0.75
    np.testing.assert_allclose(words.negatives(), power / power.sum())
    shares = np.bincount(words.table(), minlength=3) / len(words.table())
    np.testing.assert_allclose(shares, words.negatives(), atol=1e-5)


def test_an_epoch_holds_every_kept_word_once_and_windows_end_with_their_sentence():
    random = np.random.default_rng(0)
    text = Text(random.integers(0, 50, 5000).astype(np.int32), np.repeat(np.arange(500, dtype=np.int32), 10))
    words = Vocabulary(tuple(map(str, range(50))), np.bincount(text.ids, minlength=50))
    config = SkipGramConfig(subsample=0.0, window=3, epochs=2)
    middle, rates = [], []
    for chunk, _ in batches.epoch(text, words, config, 1, words.table()):
        real = chunk.windows > 0
        middle.append(chunk.ids[:, 3:-3].reshape(real.swapaxes(0, 1).shape)[real.swapaxes(0, 1)])
        rates.append(chunk.rates)
        assert set(np.unique(chunk.windows)) <= {0, 1, 2, 3}
    np.testing.assert_array_equal(np.concatenate(middle), text.ids)
    rates = np.concatenate(rates)
    assert rates[0] == pytest.approx(0.025 / 2)  # the second of two epochs begins halfway down
    assert (np.diff(rates) <= 0).all()
    assert rates.min() >= 0.025e-4 * 0.999


def test_a_frequent_word_makes_an_update_smaller():
    flat = Vocabulary(tuple(map(str, range(1000))), np.full(1000, 10))
    steep = Vocabulary(("a", "b"), np.array([100, 10]))
    assert batches.shape(flat, SkipGramConfig()) == (batches.MOST_STREAMS, 32)
    assert batches.shape(steep, SkipGramConfig(subsample=0.0)) == (1, 4)


def two_topics():
    random = np.random.default_rng(0)
    words = [[f"{topic}{i}" for i in range(10)] for topic in "ab"]
    return [random.choice(words[i % 2], 8).tolist() for i in range(600)]


@pytest.mark.parametrize("draw", ["shared", pytest.param("each", marks=pytest.mark.long)])
def test_words_of_one_topic_come_to_lie_together(draw):
    sentences = two_topics()
    words = vocabulary.count(sentences, 1)
    config = SkipGramConfig(width=16, window=4, epochs=30, subsample=0.0, draw=draw, rate=0.05)
    matrix = np.asarray(training.train(vocabulary.encode(sentences, words), words, config).neighbour)
    vectors = Vectors(words.words, matrix)
    for word, found in zip(words.words, nearest.neighbours(vectors, words.words, 5), strict=True):
        assert {other[0] for other, _ in found} == {word[0]}, word


def test_counts_are_those_of_the_windows_and_ppmi_its_formula():
    text = Text(np.array([0, 1, 2, 0, 1], np.int32), np.array([0, 0, 0, 1, 1], np.int32))
    counts = counting.neighbour_counts(text, 3, 2).toarray()
    expected = np.zeros((3, 3))
    for x, y, weight in ((0, 1, 1), (1, 2, 1), (0, 2, 0.5), (0, 1, 1)):  # distance 2 is in one of two windows
        expected[x, y] += weight
        expected[y, x] += weight
    np.testing.assert_allclose(counts, expected)
    found = counting.ppmi(counting.neighbour_counts(text, 3, 2), negatives=2).toarray()
    smooth = expected.sum(axis=0) ** 0.75
    with np.errstate(divide="ignore"):
        information = np.log(expected / expected.sum(axis=1)[:, None] / (smooth / smooth.sum())) - np.log(2)
    np.testing.assert_allclose(found, np.maximum(information, 0), atol=1e-12)


def test_counted_vectors_find_the_topics_too():
    sentences = two_topics()
    words = vocabulary.count(sentences, 1)
    text = vocabulary.encode(sentences, words)
    vectors = Vectors(words.words, counting.vectors(text, words, 2, 4))
    found = nearest.neighbours(vectors, words.words, 3)
    assert all(other[0] == word[0] for word, best in zip(words.words, found, strict=True) for other, _ in best)
    with pytest.raises(ValueError, match="20 words have fewer than 20 singular vectors: lower --width"):
        counting.vectors(text, words, 20, 4)


@pytest.mark.parametrize(("n", "k", "tile"), [(50, 5, 3), (50, 50, 4), (3, 2, 8), (33, 20, 1)])
def test_search_in_tiles_equals_sorting_all_scores(n, k, tile):
    random = np.random.default_rng(n)
    matrix, queries = random.normal(size=(n, 8)).astype(np.float32), random.normal(size=(4, 8)).astype(np.float32)
    matrix[1] = matrix[0]  # of equal scores the earlier one
    scores, places = nearest.top_k(jnp.asarray(queries), jnp.asarray(matrix), k, tile)
    every = queries @ matrix.T
    order = np.argsort(-every, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(places, order)
    np.testing.assert_allclose(scores, np.take_along_axis(every, order, axis=1), atol=1e-5)


def test_an_analogy_leaves_the_questions_words_out():
    words = ("man", "king", "woman", "queen", "pear")
    vectors = Vectors(words, np.array([[1, 0, 0], [1, 1, 0], [0.9, 0, 0.5], [0.9, 0.8, 0.5], [-1, -1, 0]], np.float32))
    (found,) = nearest.analogies(vectors, [("man", "king", "woman")], 5)
    assert [word for word, _ in found] == ["queen", "pear"]
    (found,) = nearest.neighbours(vectors, ["man"], 9)
    assert "man" not in [word for word, _ in found]
    assert len(found) == 4


def test_a_word_without_a_vector_is_named_with_those_that_look_alike():
    with pytest.raises(ValueError, match="no vector for 'kings' among 2 words; did you mean king"):
        nearest.neighbours(Vectors(("king", "tree"), np.eye(2, dtype=np.float32)), ["kings"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"width": 0}, "width must be a whole number of at least 1"),
        ({"window": 101}, "window must be at most 100"),
        ({"rate": 1.0}, "rate must lie between 0 and 1"),
        ({"subsample": -1.0}, "subsample must be 0 or a share"),
        ({"subsample": math.inf}, "subsample must be 0 or a share"),
    ],
)
def test_settings_out_of_range_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(SkipGramConfig(), **changes)


@pytest.mark.parametrize(("sentences", "said"), [([], "holds no word"), ([["a"] * 9], "1 of 1 different words")])
def test_a_text_with_fewer_than_two_words_is_refused(sentences, said):
    with pytest.raises(ValueError, match=said):
        vocabulary.count(sentences, 2)
