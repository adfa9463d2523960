"""Greedy and beam search: against each other, and against all hypotheses counted out."""

import itertools
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.decode import beam
from llm_jax.decode.transduce import Search, transduce
from llm_jax.models.encoder_decoder import forward as model
from llm_jax.models.encoder_decoder.config import EncoderDecoderConfig
from llm_jax.models.encoder_decoder.parameters import init

BEGIN, END = 1, 2
ROWS, LONGEST = 12, 6


def tables(vocabulary):
    """log p of the next token after each two tokens, another table for each row."""
    shape = (ROWS, vocabulary, vocabulary, vocabulary)
    return jax.nn.log_softmax(1.5 * jax.random.normal(jax.random.key(1), shape), axis=-1)


def advance_by(table):
    def advance(state, last_R):
        row_R, before_R = state
        return table[row_R, before_R, last_R], (row_R, last_R)

    return advance


@partial(jax.jit, static_argnums=(1, 2))
def searched(table, n_beams, alpha):
    rows = jnp.repeat(jnp.arange(ROWS), n_beams)
    state = (rows, jnp.zeros_like(rows))
    begin = jnp.full(ROWS, BEGIN)
    if n_beams == 0:
        rows = jnp.arange(ROWS)
        return beam.greedy(advance_by(table), (rows, jnp.zeros_like(rows)), begin, LONGEST, END)
    take = lambda state, rows: jax.tree.map(lambda x: x[rows], state)  # noqa: E731
    return beam.beam_search(advance_by(table), take, state, begin, LONGEST, END, n_beams, alpha)


def words(result, which=0):
    """One hypothesis of each row, as a list of ids with the end."""
    pairs = zip(result.tokens_BKG[:, which], result.lengths_BK[:, which], strict=True)
    return [row[:length].tolist() for row, length in pairs]


def log_p_of(table, word):
    total, before, last = 0.0, 0, BEGIN
    for token in word:
        total, before, last = total + table[before, last, token], last, token
    return total


@pytest.mark.parametrize("alpha", [0.0, 1.5])
def test_a_beam_as_wide_as_all_beginnings_finds_the_best_of_all_hypotheses(alpha):
    table = tables(3)
    result = searched(table, 96, alpha)  # 32 beginnings of three continuations each
    inner = [list(one) for n in range(LONGEST) for one in itertools.product((0, 1), repeat=n)]
    assert len(inner) == 63
    for row in range(ROWS):
        scores = {
            (*one, END): log_p_of(np.asarray(table[row], float), [*one, END]) / ((6 + len(one)) / 6) ** alpha
            for one in inner
        }
        best = sorted(scores, key=lambda word: -scores[word])[:5]
        found = [tuple(words(result, k)[row]) for k in range(5)]
        assert len(set(found)) == 5
        np.testing.assert_allclose([scores[word] for word in found], [scores[word] for word in best], rtol=1e-6)
        np.testing.assert_allclose(result.scores_BK[row, :5], [scores[word] for word in best], rtol=1e-5)
    assert result.ended_BK[:, :5].all()


def test_a_beam_of_one_is_greedy_search_whatever_the_length_penalty():
    table = tables(7)
    greedy = searched(table, 0, 0.0)
    assert len({len(word) for word in words(greedy)}) > 2
    for alpha in (0.0, 3.0):
        one = searched(table, 1, alpha)
        assert words(one) == words(greedy)
        np.testing.assert_allclose(one.log_p_BK, greedy.log_p_BK, rtol=1e-5)
        np.testing.assert_array_equal(one.ended_BK, greedy.ended_BK)


def test_a_wider_beam_finds_better_scores_and_gives_each_hypothesis_its_own():
    table = tables(7)
    greedy, wide = searched(table, 0, 0.0), searched(table, 4, 0.0)
    gain = np.where(greedy.ended_BK, wide.scores_BK[:, :1] - greedy.log_p_BK, 0)
    assert gain.min() >= -1e-5
    assert gain.max() > 0.1
    assert (np.diff(np.where(np.isfinite(wide.scores_BK), wide.scores_BK, -1e9), axis=1) <= 0).all()
    for which in range(2):
        for row, word in enumerate(words(wide, which)):
            if np.isfinite(wide.scores_BK[row, which]):
                expected = log_p_of(np.asarray(table[row], float), word)
                np.testing.assert_allclose(wide.log_p_BK[row, which], expected, rtol=1e-5)
                assert word[-1] == END
                assert END not in word[:-1]
    assert np.isfinite(wide.scores_BK[:, 1]).sum() > 6


@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_hypotheses_that_leave_a_token_out_end_first_and_shut_nothing_out(alpha):
    """With smoothed labels every wrong token is as probable: six ways to leave one out are complete a step earlier."""
    word = [3, 4, 5, 6, 7, 8, END]
    following = dict(zip([BEGIN, *word], word, strict=False))
    table = np.full((10, 10), math.log(0.1 / 9))
    for last, token in following.items():
        table[last, token] = math.log(0.9)
    rows = jnp.zeros(5, jnp.int32)
    found = beam.beam_search(
        lambda state, last_R: (jnp.asarray(table)[last_R], state),
        lambda state, rows: state[rows], rows, jnp.array([BEGIN]), 12, END, 5, alpha,
    )  # fmt: skip
    assert words(found) == [word]


def test_the_length_penalty_is_one_for_one_token_and_favours_long_hypotheses():
    assert beam.length_penalty(1, 0.7) == 1
    assert math.isclose(beam.length_penalty(7, 1.0), 2.0)
    short, long = (searched(tables(7), 4, alpha) for alpha in (0.0, 3.0))
    assert long.lengths_BK[:, 0].sum() > short.lengths_BK[:, 0].sum()


def test_where_no_hypothesis_ends_the_unfinished_are_given_as_such():
    table = tables(7).at[..., END].set(-1e9)
    result = searched(table, 4, 0.0)
    assert not result.ended_BK.any()
    assert all(END not in word and len(word) == LONGEST for word in words(result))
    expected = [log_p_of(np.asarray(table[row], float), word) for row, word in enumerate(words(result))]
    np.testing.assert_allclose(result.log_p_BK[:, 0], expected, rtol=1e-5)


def test_an_encoder_decoder_writes_with_its_cache_what_it_finds_most_probable_without(plan):
    config = EncoderDecoderConfig(
        vocab_size=11, context_length=12, d_model=16, n_heads=2, n_encoder_layers=1, n_decoder_layers=1, mlp_width=24
    )
    params = jax.tree.map(lambda p: 2 * p if p.ndim > 1 else p, jax.jit(lambda k: init(k, config))(jax.random.key(3)))
    sources = jnp.array(np.random.default_rng(0).integers(3, 11, (6, 7)))
    is_source = jnp.arange(7) < jnp.array([[7], [3], [5], [7], [1], [2]])

    @jax.jit
    def log_p(params, target):
        hidden, _ = model.decode(params, target, model.read(params, sources, is_source, config, plan), config, plan)
        return jax.nn.log_softmax(model.logits(params, hidden))

    def of(n_beams):
        found = transduce(params, sources, is_source, config, plan, Search(BEGIN, END, 8, n_beams, alpha=0.0))
        target = jnp.concatenate([jnp.full((6, 1), BEGIN), found.tokens_BKG[:, 0]], axis=1)
        return found, np.asarray(log_p(params, target[:, :-1]))

    greedy, log_p_BTV = of(1)
    for row, word in enumerate(words(greedy)):
        assert word == log_p_BTV[row].argmax(axis=-1)[: len(word)].tolist()
    wide, log_p_BTV = of(3)
    for row, word in enumerate(words(wide)):
        right = log_p_BTV[row, np.arange(len(word)), word].sum()
        np.testing.assert_allclose(wide.log_p_BK[row, 0], right, rtol=1e-4)
    with pytest.raises(ValueError, match="12 tokens, the model's positions; got 13"):
        transduce(params, sources, is_source, config, plan, Search(BEGIN, END, 13))


def test_sizes_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="beams and new tokens must be at least 1"):
        beam.beam_search(lambda *_: (), lambda *_: (), 0, jnp.array([1]), 3, END, 0)
