"""Products with weights of 16 and 8 bits against the formula with the same weights in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.kernels.linear import linear_on_cpu, output_first
from llm_jax.kernels.logits import logits_of_few
from llm_jax.kernels.narrow import Int8Rows, bfloat16_product, int8_product, int8_rows, quantised
from llm_jax.layers.linear import Linear, linear
from llm_jax.layers.loss import logits_of

ROWS = (1, 2, 8, 33, 130)  # a decoding step, and a prompt


def matrices(rows: int, inputs: int = 96, outputs: int = 40) -> tuple[jax.Array, jax.Array]:
    """Rows whose numbers differ by orders of magnitude, as activations do, and a weight."""
    keys = jax.random.split(jax.random.key(rows), 3)
    spread = jnp.exp(1.5 * jax.random.normal(keys[0], (inputs,)))
    return jax.random.normal(keys[1], (rows, inputs)) * spread, jax.random.normal(keys[2], (outputs, inputs))


def product(x: jax.Array, weight: np.ndarray) -> np.ndarray:
    return np.asarray(x, np.float64) @ weight.T


def error(found: jax.Array, expected: np.ndarray) -> float:
    return float(np.abs(np.asarray(found, np.float64) - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("rows", ROWS)
def test_a_bfloat16_weight_takes_float32_rows_with_sixteen_bits(rows):
    x, weight = matrices(rows)
    weight = weight.astype(jnp.bfloat16)
    expected = product(x, np.asarray(weight, np.float64))
    assert error(jax.jit(bfloat16_product)(x, weight), expected) < 1e-5
    rounded = product(x.astype(jnp.bfloat16).astype(jnp.float32), np.asarray(weight, np.float64))
    assert error(rounded, expected) > 1e-4  # what rows rounded to bfloat16 would give


@pytest.mark.parametrize("rows", ROWS)
def test_an_int8_weight_takes_float32_rows_with_fifteen_bits(rows):
    x, weight = matrices(rows)
    numbers, scale = quantised(weight)
    expected = product(x, np.asarray(numbers, np.float64) * np.asarray(scale, np.float64)[:, None])
    found = jax.jit(int8_product)(x, numbers, scale)
    assert error(found, expected) < 5e-4
    # The bound of the formula: every input is at most max|x|/(4·127²) away, half of the last digit's unit.
    off = np.abs(np.asarray(x)).max(axis=1, keepdims=True) / (4 * 127**2)
    bound = off * np.abs(np.asarray(numbers) * np.asarray(scale)[:, None]).sum(axis=1)
    assert (np.abs(np.asarray(found) - expected) <= 1.01 * bound + 1e-5 * np.abs(expected)).all()


def test_a_row_s_products_do_not_depend_on_the_other_rows():
    x, weight = matrices(33)
    numbers, scale = quantised(weight)
    compiled = jax.jit(int8_product)
    np.testing.assert_array_equal(compiled(x, numbers, scale)[:8], compiled(x[:8], numbers, scale))


def test_quantised_weights_are_at_most_half_a_step_away_and_each_output_uses_all_steps():
    weight = matrices(1)[1].at[3].set(0.0).at[4].multiply(1e-6)
    numbers, scale = quantised(weight)
    assert numbers.dtype == jnp.int8
    assert (np.abs(numbers).max(axis=1)[np.arange(40) != 3] == 127).all()
    assert (np.abs(np.asarray(numbers * scale[:, None] - weight)) <= np.asarray(scale)[:, None] * 0.5001).all()
    assert not numbers[3].any()


@pytest.mark.parametrize("value", [0.0, 1e-40, 1e30, np.nan, np.inf])
def test_rows_without_a_usable_largest_number_are_neither_hidden_nor_made_up(value):
    numbers, scale = quantised(matrices(1)[1])
    found = np.asarray(int8_product(jnp.full((1, 96), value), numbers, scale))
    if np.isfinite(value):
        expected = value * np.asarray(numbers * scale[:, None], np.float64).sum(axis=1)
        np.testing.assert_allclose(found[0], expected, rtol=1e-3, atol=1e-36 + 1e-3 * abs(expected).max())
    else:
        assert np.isnan(found).all()


@pytest.mark.parametrize("number", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize(("inputs", "outputs"), [((24,), (3, 8)), ((2, 12), (10,))])
def test_a_stored_layer_is_the_linear_map_of_its_rounded_weight(number, inputs, outputs):
    keys = jax.random.split(jax.random.key(5), 3)
    layer = Linear(jax.random.normal(keys[0], inputs + outputs), jax.random.normal(keys[1], outputs))
    stored = output_first(layer, len(inputs), number)
    assert stored.weight.dtype == number
    assert stored.weight.shape == outputs + inputs
    whole = np.asarray(stored.weight, np.float32)
    if number == "int8":
        whole = whole * np.asarray(stored.scale).reshape(*outputs, *(1 for _ in inputs))
    back = jnp.moveaxis(jnp.asarray(whole), range(-len(inputs), 0), range(len(inputs)))
    x = jax.random.normal(keys[2], (2, 3, *inputs))
    expected = linear(Linear(back, layer.bias), x, len(inputs))
    found = linear_on_cpu(stored, x, len(inputs))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-3 if number == "int8" else 1e-4)


@pytest.mark.parametrize("rows", [(1,), (4,), (2, 70)])
def test_logits_of_a_narrow_head_are_the_formula_s_with_its_padding(rows):
    hidden, head = jax.random.normal(jax.random.key(0), (*rows, 16)), jax.random.normal(jax.random.key(1), (64, 16))
    narrow = {"bfloat16": head.astype(jnp.bfloat16), "int8": int8_rows(head)}
    for head_VD in narrow.values():
        is_int8 = isinstance(head_VD, Int8Rows)
        wide = head_VD[jnp.arange(64)] if is_int8 else head_VD.astype(jnp.float32)
        expected = logits_of(hidden, wide, 50)
        found = logits_of_few(hidden, head_VD, 50)
        assert np.isneginf(found[..., 50:]).all()
        np.testing.assert_allclose(found[..., :50], expected[..., :50], atol=1e-3)
