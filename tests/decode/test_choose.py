import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from llm_jax.decode.choose import _bits, choose, draw, keep_top_k, keep_top_p, keys_of, rule, rule_of_rows
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


def test_rounding_changes_no_draw():
    """Of 15,000 tokens, a running sum would give several draws to a neighbour by id, whatever its probability."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (4000, 4096)).astype(np.float32)
    rounded = logits + random.normal(0, 1e-5, logits.shape).astype(np.float32)
    for sampling in (rule(Sampling()), rule(Sampling(temperature=0.7, top_k=200))):
        np.testing.assert_array_equal(*(choose_on_device(x, keys(4000), sampling) for x in (logits, rounded)))


def test_tokens_and_keys_draw_independently():
    """Of two tokens the same one would win every time if their random numbers went together."""
    words = np.asarray(_bits(keys(3000), 1000)) / 2.0**32
    assert abs(words.mean() - 0.5) < 4 / np.sqrt(12 * words.size)
    for one, other in ((words[:, :-1], words[:, 1:]), (words[:-1], words[1:]), (words[:, ::2], words[:, 1::2])):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(one.size)
    pairs = jnp.full((20_000, 2), 1.0)
    assert abs(int(draw(pairs, keys(20_000)).sum()) - 10_000) < 4 * np.sqrt(5_000)
    assert len(np.unique(words)) > 0.999 * words.size  # 32 bits, each of them used


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
        {"seed": 2**63},
        {"seed": -(2**63) - 1},
    ],
)
def test_nonsense_is_refused_by_name_and_value(wrong):
    (name, value), *_ = wrong.items()
    with pytest.raises(ValueError, match=f"{name} must .*{value}"):
        Sampling(**wrong)


@pytest.mark.parametrize("name", ["top_k", "seed"])
def test_fractions_are_refused_where_numbers_are_whole(name):
    sampling = Sampling()
    object.__setattr__(sampling, name, 1.5)  # the tests' own check of annotations would stop it on the usual way
    with pytest.raises(ValueError, match=f"{name} must be a whole number; got 1.5"):
        sampling.__post_init__()


def test_a_temperature_or_top_p_too_small_for_a_float_takes_the_most_likely_and_a_huge_one_any():
    logits = jax.random.normal(jax.random.key(3), (5, 300))
    best = logits.argmax(-1).tolist()
    for tiny in (1e-300, 1e-40, 1e-38, 1e-30, 1e-20, 1e-8, 1e-5):
        for sampling in (Sampling(temperature=tiny), Sampling(top_p=tiny), Sampling(tiny, top_k=10**10, top_p=0.9)):
            assert choose_on_device(logits, keys(5), rule(sampling)).tolist() == best
            assert choose_on_device(logits, keys(5), rule_of_rows([sampling] * 5)).tolist() == best
    drawn = choose_on_device(jnp.tile(logits[:1], (500, 1)), keys(500), rule(Sampling(temperature=1e300)))
    assert len(set(drawn.tolist())) > 200


def test_seeds_of_64_bits_have_keys_of_their_own_and_those_of_31_are_jax_s():
    small = [0, 1, 7, 2**31 - 1]
    expected = [jax.random.key_data(jax.random.key(seed)).tolist() for seed in small]
    assert jax.random.key_data(keys_of(small)).tolist() == expected
    seeds = [-(2**63), -(2**32), -1, 0, 1, 2**31, 2**32, 2**32 + 1, 2**63 - 1]
    assert len({tuple(words) for words in jax.random.key_data(keys_of(seeds)).tolist()}) == len(seeds)


def test_after_the_largest_seed_comes_the_least():
    assert [Sampling(seed=2**63 - 2).of(number).seed for number in range(3)] == [2**63 - 2, 2**63 - 1, -(2**63)]
    assert Sampling(0.5, seed=-3).of(4) == Sampling(0.5, seed=1)


def test_of_equal_logits_the_first_is_taken():
    logits_BV = jnp.array([[1.0, 3.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0], [-jnp.inf, -2.0, -jnp.inf, -2.0]])
    keys_B = jax.vmap(jax.random.key)(jnp.arange(3))
    assert choose(logits_BV, keys_B, rule(Sampling(temperature=0.0))).tolist() == [1, 0, 1]


@pytest.mark.parametrize("size", [1, 5, 128, 129, 300, 1280])
def test_greedy_takes_the_first_of_equals_wherever_it_lies_in_the_vocabulary(size):
    rng = np.random.default_rng(size)
    logits = rng.integers(-3, 3, (6, size)).astype(np.float32)  # many are equal
    logits[1, :-1] = -np.inf
    logits[2] = -np.inf
    logits[3, rng.integers(size)] = 9
    found = choose(jnp.asarray(logits), jax.random.split(jax.random.key(0), 6), rule(Sampling(temperature=0.0)))
    np.testing.assert_array_equal(found, logits.argmax(axis=-1))


def test_greedy_names_a_token_even_where_a_logit_is_not_a_number():
    logits = np.zeros((1, 300), np.float32)
    logits[0, 7] = np.nan
    found = choose(jnp.asarray(logits), jax.random.split(jax.random.key(0), 1), rule(Sampling(temperature=0.0)))
    assert 0 <= int(found[0]) < 300
