import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from llm_jax.decode.choose import _find, choose, draw, keep_top_k, keep_top_p, rule
from llm_jax.decode.options import Sampling

# XLA flushes subnormal floats to zero, so to the device they tie with zero.
LOGITS = arrays(np.float32, (3, 19), elements=st.floats(-30, 30, width=32, allow_subnormal=False))

top_k_on_device, top_p_on_device, choose_on_device = jax.jit(keep_top_k), jax.jit(keep_top_p), jax.jit(choose)


def keys(number: int, seed: int = 0) -> jax.Array:
    return jax.random.split(jax.random.key(seed), number)


@settings(max_examples=60, deadline=None)
@given(LOGITS, st.integers(1, 25))
def test_top_k_keeps_the_k_largest_and_what_ties_with_the_last(logits, k):
    kept = np.isfinite(top_k_on_device(jnp.array(logits), jnp.int32(k)))
    last = np.sort(logits)[:, ::-1][:, min(k, logits.shape[1]) - 1]
    np.testing.assert_array_equal(kept, logits >= last[:, None])


@settings(max_examples=60, deadline=None)
@given(LOGITS, st.floats(0.01, 0.999))
def test_top_p_keeps_the_fewest_tokens_that_reach_p(logits, p):
    kept = np.isfinite(top_p_on_device(jnp.array(logits), jnp.float32(p)))
    wide = logits.astype(np.float64)
    probabilities = np.exp(wide - wide.max(-1, keepdims=True))
    probabilities /= probabilities.sum(-1, keepdims=True)
    for row in range(len(logits)):
        inside = probabilities[row][kept[row]]
        assert inside.sum() >= p - 1e-5
        assert kept[row][logits[row].argmax()]
        assert np.min(inside) > np.max(probabilities[row][~kept[row]], initial=0) - 1e-7
        smallest = logits[row][kept[row]].min()
        without_the_last = probabilities[row][logits[row] > smallest].sum()
        assert without_the_last < p + 1e-5


def test_filters_order_negative_and_positive_logits_alike():
    logits = jnp.array([[-3.0, 2.0, -1.0, 0.5, -jnp.inf]])
    assert np.isfinite(top_k_on_device(logits, jnp.int32(3)))[0].tolist() == [False, True, True, True, False]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax_at_every_temperature(temperature):
    logits = np.random.default_rng(0).normal(0, 2, 300).astype(np.float32)  # 300: not a whole number of pieces
    n_draws = 40_000
    many = jnp.broadcast_to(jnp.array(logits), (n_draws, logits.size))
    drawn = choose_on_device(many, keys(n_draws), rule(Sampling(temperature=temperature)))
    expected = n_draws * np.asarray(jax.nn.softmax(logits / temperature))
    seen = np.bincount(drawn, minlength=logits.size)
    common = expected > 20
    chi_square = ((seen - expected) ** 2 / expected)[common].sum()
    degrees = common.sum()
    assert abs(chi_square - degrees) < 4 * np.sqrt(2 * degrees)
    assert seen[~common].sum() == pytest.approx(expected[~common].sum(), rel=0.2, abs=30)


def test_a_token_of_weight_zero_is_never_drawn():
    allowed = np.array([0, 127, 128, 299])
    weights = np.zeros((4000, 300), np.float32)
    weights[:, allowed] = 1e-3, 1.0, 1.0, 1e-3
    assert set(np.unique(draw(jnp.array(weights), keys(4000)))) <= set(allowed)


@pytest.mark.parametrize(("target", "expected"), [(0.0, 2), (0.999, 2), (1.0, 4), (2.9, 4), (3.0, 4), (99.0, 4)])
def test_the_running_sum_is_inverted_even_where_rounding_overshoots(target, expected):
    weights = jnp.array([[0.0, 0.0, 1.0, 0.0, 2.0, 0.0]])
    index, _ = _find(weights, jnp.array([target]))
    assert index.tolist() == [expected]


def test_a_row_draws_the_same_whatever_stands_beside_it():
    logits = jax.random.normal(jax.random.key(1), (6, 300))
    sampling = rule(Sampling(temperature=0.9, top_k=50, top_p=0.9))
    together = choose_on_device(logits, keys(6), sampling)
    alone = [choose_on_device(logits[i : i + 1], keys(6)[i : i + 1], sampling)[0] for i in range(6)]
    assert together.tolist() == [int(token) for token in alone]


def test_temperature_zero_takes_the_largest_logit():
    logits = jax.random.normal(jax.random.key(2), (5, 300))
    chosen = choose_on_device(logits, keys(5), rule(Sampling(temperature=0.0, top_k=3, top_p=0.1)))
    assert chosen.tolist() == logits.argmax(-1).tolist()


def test_top_k_one_and_a_tiny_top_p_are_greedy():
    logits = jax.random.normal(jax.random.key(3), (5, 300))
    for sampling in (Sampling(top_k=1), Sampling(top_p=1e-6)):
        assert choose_on_device(logits, keys(5), rule(sampling)).tolist() == logits.argmax(-1).tolist()


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_p": 1.01},
        {"top_k": -1},
        {"seed": -1},
    ],
)
def test_nonsense_is_refused_by_name_and_value(wrong):
    (name, value), *_ = wrong.items()
    with pytest.raises(ValueError, match=f"{name} must .*{value}"):
        Sampling(**wrong)


def test_of_equal_logits_the_first_is_taken():
    logits_BV = jnp.array([[1.0, 3.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0], [-jnp.inf, -2.0, -jnp.inf, -2.0]])
    keys_B = jax.vmap(jax.random.key)(jnp.arange(3))
    assert choose(logits_BV, keys_B, rule(Sampling(temperature=0.0))).tolist() == [1, 0, 1]
