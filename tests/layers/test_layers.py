"""Layer norm, attention and linear maps against NumPy in float64."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.layers.attention import causal_attend
from llm_jax.layers.dropout import Dropout, dropout, split
from llm_jax.layers.linear import Linear, linear
from llm_jax.layers.mlp import ACTIVATIONS, gelu, init_mlp, mlp
from llm_jax.layers.norm import Norm, layer_norm


def normal(seed: int, *shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape)


def test_layer_norm_equals_its_definition():
    x, norm = 3 + 2 * normal(0, 2, 5, 16), Norm(gain=normal(1, 16), bias=normal(2, 16))
    wide = np.asarray(x, np.float64)
    centred = wide - wide.mean(-1, keepdims=True)
    expected = centred / np.sqrt(wide.var(-1, keepdims=True) + 1e-5) * np.asarray(norm.gain) + np.asarray(norm.bias)
    np.testing.assert_allclose(layer_norm(norm, x, 1e-5), expected, rtol=2e-6, atol=2e-6)


def test_layer_norm_epsilon_is_inside_the_root():
    norm = Norm(gain=jnp.ones(4), bias=jnp.zeros(4))
    x = 1e-3 * jnp.array([[[1.0, -1.0, 1.0, -1.0]]])  # variance 1e-6, below ε
    assert float(layer_norm(norm, x, 1e-5)[0, 0, 0]) == pytest.approx(1e-3 / np.sqrt(1.1e-5), rel=1e-5)


def test_layer_norm_statistics_are_float32_for_a_bfloat16_stream():
    x = 1000 + normal(0, 1, 1, 768)
    norm = Norm(gain=jnp.ones(768), bias=jnp.zeros(768))
    low = x.astype(jnp.bfloat16)
    expected = layer_norm(norm, low.astype(jnp.float32), 1e-5)
    np.testing.assert_allclose(layer_norm(norm, low, 1e-5).astype(jnp.float32), expected, rtol=1e-2, atol=1e-2)


def definition(q, k, v):
    """Causal attention as Vaswani et al. write it, in the arrays' own format, differentiated by JAX."""
    scores = jnp.einsum("btnh,bsnh->bnts", q, k) / np.sqrt(q.shape[-1])
    causal = np.tril(np.ones((q.shape[1], q.shape[1]), bool))
    return jnp.einsum("bnts,bsnh->btnh", jax.nn.softmax(jnp.where(causal, scores, -jnp.inf), axis=-1), v)


@pytest.mark.parametrize("length", [1, 6, 130])
def test_attention_and_its_gradients_equal_the_definition(length):
    """Against float64."""
    q, k, v, d = (normal(seed, 2, length, 3, 8) for seed in range(4))
    found, pull_found = jax.vjp(causal_attend, q, k, v)
    with jax.enable_x64(True):
        exact = [jnp.asarray(np.asarray(x), jnp.float64) for x in (q, k, v, d)]
        expected, pull = jax.vjp(definition, *exact[:3])
        gradients = pull(exact[3])
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)
    for one, other in zip(pull_found(d), gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5)


def test_attention_in_bfloat16_keeps_scores_and_softmax_in_float32():
    q, k, v, d = (normal(seed, 2, 130, 3, 8).astype(jnp.bfloat16) for seed in range(4))
    found, pull_found = jax.vjp(causal_attend, q, k, v)
    expected, pull = jax.vjp(definition, *(x.astype(jnp.float32) for x in (q, k, v)))
    for one, other in zip((found, *pull_found(d)), (expected, *pull(d.astype(jnp.float32))), strict=True):
        assert one.dtype == jnp.bfloat16
        distance = np.linalg.norm(one.astype(jnp.float32) - other) / np.linalg.norm(other)
        assert distance < 2 * 2**-8  # a rounding or two; products in bfloat16 sums would lose more


def test_future_keys_change_nothing_under_the_causal_mask():
    q, k, v = (normal(i, 1, 6, 2, 8) for i in range(3))
    changed = causal_attend(q, k.at[:, 4:].add(100.0), v.at[:, 4:].add(100.0))
    np.testing.assert_array_equal(changed[:, :4], causal_attend(q, k, v)[:, :4])
    assert not np.allclose(changed[:, 4:], causal_attend(q, k, v)[:, 4:])


def test_a_score_too_large_to_be_looked_at_disturbs_neither_value_nor_gradient():
    q, k, v = (normal(i, 1, 6, 2, 8) for i in range(3))
    huge = k.at[:, 5].mul(1e4)  # e to the power of such a score is infinite

    def first_rows(k):
        return causal_attend(q, k, v)[:, :5]

    found, pull = jax.vjp(first_rows, huge)
    expected, pull_expected = jax.vjp(first_rows, k)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(pull(jnp.ones_like(found))[0][:, :5], pull_expected(jnp.ones_like(found))[0][:, :5])


@pytest.mark.parametrize("rows", [1, 7, 20])
def test_linear_contracts_its_input_dimensions_in_order(rows):
    layer = Linear(weight=normal(0, 2, 3, 4, 5), bias=normal(1, 4, 5))
    x = normal(2, 1, rows, 2, 3)
    expected = np.einsum("btij,ijkl->btkl", x, layer.weight) + layer.bias
    np.testing.assert_allclose(linear(layer, x, n_inputs=2), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "theirs"), [("gelu_tanh", "gelu_new"), ("gelu", "gelu"), ("relu", "relu"), ("silu", "silu")]
)
def test_activations_are_those_of_transformers_by_that_name(name, theirs):
    torch = pytest.importorskip("torch")
    activations = pytest.importorskip("transformers.activations")
    x = torch.linspace(-12, 12, 97)
    expected = activations.ACT2FN[theirs](x).numpy()
    np.testing.assert_allclose(ACTIVATIONS[name](jnp.asarray(x.numpy())), expected, rtol=1e-5, atol=1e-6)


def test_gelu_is_exact_far_below_zero():
    """x·Φ(x), which 1 + erf would round to 0: Φ(−8) is 6.2e-16."""
    assert float(gelu(jnp.full(1, -8.0))[0]) == pytest.approx(-8 * 6.22096e-16, rel=1e-4)


def test_mlp_uses_the_tanh_form_of_gelu():
    layer = init_mlp(jax.random.key(0), 8, 32, std=1.0, residual_std=1.0)
    x = normal(1, 1, 3, 8)
    hidden = np.asarray(x @ layer.up.weight + layer.up.bias, np.float64)
    gelu = 0.5 * hidden * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)))
    expected = gelu @ np.asarray(layer.down.weight) + np.asarray(layer.down.bias)
    np.testing.assert_allclose(mlp(layer, x), expected, rtol=1e-5, atol=1e-5)


def test_dropout_leaves_out_its_share_and_keeps_the_mean():
    x = jnp.full((100, 1000), 3.0)
    found = np.asarray(dropout(x, Dropout(jax.random.key(0), 0.2)))
    assert np.unique(found).tolist() == [0.0, 3.75]
    assert (found == 0).mean() == pytest.approx(0.2, abs=0.005)  # four standard errors
    assert dropout(x, None) is x


@pytest.mark.parametrize("rate", [1.0, 1.5, -0.1, math.nan, np.float32(1)])
def test_dropout_of_everything_or_less_than_nothing_is_refused(rate):
    with pytest.raises(ValueError, match=r"dropout must lie in \[0, 1\); got"):
        dropout(jnp.ones(3), Dropout(jax.random.key(0), rate))


def test_dropout_takes_a_traced_rate():
    x, key = jnp.ones(1000), jax.random.key(0)
    found = jax.jit(lambda rate: dropout(x, Dropout(key, rate)))(0.5)
    np.testing.assert_array_equal(found, dropout(x, Dropout(key, 0.5)))


def test_dropout_leaves_out_other_numbers_in_every_place():
    x = jnp.ones(1000)
    one, two = (np.asarray(dropout(x, plan)) for plan in split(Dropout(jax.random.key(0), 0.5), 2))
    assert (one != two).mean() == pytest.approx(0.5, abs=0.1)
    assert split(None, 2) == [None, None]
