"""Which parameter gets which optimizer, and the learning-rate schedules."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.config import DecoderConfig
from llm_jax.models import decoder
from train.optim.config import OptimizerConfig, ScheduleConfig
from train.optim.optimizer import (
    MUON_RMS,
    is_hidden_matrix,
    is_matrix,
    learning_rate,
    make_optimizer,
    muon_dimensions,
    noam_peak,
)

TINY = DecoderConfig(vocab_size=100, context_length=16, d_model=32, n_heads=4, n_layers=2)
LETTERS = decoder.dimension_letters(TINY)
PLAIN = {"clip_norm": 0.0, "weight_decay": 0.0}


@pytest.fixture(scope="module")
def params():
    return decoder.init(jax.random.key(0), TINY)


@pytest.fixture(scope="module")
def gradients(params):
    keys = jax.random.split(jax.random.key(1), len(jax.tree.leaves(params)))
    leaves, tree = jax.tree.flatten(params)
    return tree.unflatten([jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)])


def direction(config, params, gradients, letters=LETTERS):
    optimizer = make_optimizer(config, letters)
    return optimizer.update(gradients, optimizer.init(params), params)[0]


def names_where(tree) -> set[str]:
    return {jax.tree_util.keystr(path) for path, value in jax.tree_util.tree_leaves_with_path(tree) if value}


def test_matrices_are_told_by_letters_and_not_by_rank():
    assert names_where(jax.tree.map(is_matrix, LETTERS)) == {".token_embedding", ".position_embedding"} | {
        f".blocks[{i}].{name}.weight"
        for i in range(TINY.n_layers)
        for name in ("attention.qkv", "attention.out", "mlp.up", "mlp.down")
    }
    assert not is_matrix("LD")  # a stacked gain has two dimensions
    assert not is_matrix("3NH")  # so has qkv's bias
    for letters in ("DJ", "NHJ", "FJ", "J3NH", "JNH", "JF", "JD"):  # an adapter's, from or to its rank
        assert is_matrix(letters)
        dims = muon_dimensions(letters)
        assert sorted((*dims.reduction_axis, *dims.output_axis)) == [i for i, x in enumerate(letters) if x != "3"]
        assert ((letters.index("J"),) == dims.reduction_axis) == letters.startswith("J")
    assert is_hidden_matrix("DD")  # of a masked model's head
    assert is_hidden_matrix("LDF")
    assert not is_hidden_matrix("VD")
    assert not is_hidden_matrix("PD")


def test_first_adamw_direction_is_the_sign_of_the_gradient(params, gradients):
    found = direction(OptimizerConfig(**PLAIN), params, gradients)
    jax.tree.map(lambda d, g: np.testing.assert_allclose(d, np.sign(g), atol=1e-3), found, gradients)


def test_weight_decay_pulls_matrices_alone(params, gradients):
    zero = jax.tree.map(jnp.zeros_like, gradients)
    found = direction(OptimizerConfig(weight_decay=0.1, clip_norm=0.0), params, zero)
    expected = jax.tree.map(lambda p, axes: 0.1 * p if is_matrix(axes) else 0 * p, params, LETTERS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, expected)


def test_clipping_scales_the_whole_gradient_to_the_norm(params, gradients):
    # AdamW forgets the scale of its first gradient, but its second moment does not.
    optimizer = make_optimizer(OptimizerConfig(clip_norm=0.5, weight_decay=0.0), LETTERS)
    _, state = optimizer.update(gradients, optimizer.init(params), params)
    second = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state) if ".nu" in jax.tree_util.keystr(path)]
    assert math.sqrt(sum(float(x.sum()) for x in second) / (1 - 0.95)) == pytest.approx(0.5, rel=1e-4)


def test_muon_makes_hidden_matrices_orthogonal_and_leaves_the_rest_to_adamw(params, gradients):
    found = direction(OptimizerConfig(optimizer="muon", **PLAIN), params, gradients)
    adam = direction(OptimizerConfig(**PLAIN), params, gradients)

    def check(path, d, a, axes):
        if not is_hidden_matrix(axes):
            np.testing.assert_array_equal(d, a, err_msg=jax.tree_util.keystr(path))
            return
        dims = muon_dimensions(axes)
        inputs = math.prod(d.shape[i] for i in dims.reduction_axis)
        matrices = jnp.moveaxis(d, 1, 0).reshape(3, inputs, -1) if "3" in axes else d.reshape(1, inputs, -1)
        singular = np.linalg.svd(matrices / (MUON_RMS * math.sqrt(max(matrices.shape[1:]))), compute_uv=False)
        # Five iterations bring all but the smallest singular values of a random matrix near 1.
        assert 0.5 < np.quantile(singular, 0.1) <= singular.max() < 1.5, (jax.tree_util.keystr(path), singular)

    jax.tree_util.tree_map_with_path(check, found, adam, LETTERS)


def test_muon_on_stacked_layers_is_muon_on_each(params, gradients):
    """Rank would take a stacked gain (L, D) for a matrix and a stacked matrix (L, D, F) for none."""

    def stack(tree):
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *tree.blocks)

    config = OptimizerConfig(optimizer="muon", weight_decay=0.1, clip_norm=0.0)
    letters = jax.tree.map(lambda axes: "L" + axes, LETTERS.blocks[0])
    found = direction(config, stack(params), stack(gradients), letters)
    expected = stack(direction(config, params, gradients))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, expected)


def test_cosine_warms_up_linearly_peaks_and_ends_at_its_final_fraction():
    schedule = ScheduleConfig(schedule="cosine", warmup_steps=10, final_fraction=0.1)
    rates = [learning_rate(schedule, 1.0, 100, step) for step in range(100)]
    np.testing.assert_allclose(np.diff(rates[:11]), 1 / 11, rtol=1e-9)
    assert rates[10] == 1.0
    assert rates[-1] == pytest.approx(0.1)
    middle = 10 + (99 - 10) / 2
    assert learning_rate(schedule, 1.0, 100, middle) == pytest.approx(0.55)  # type: ignore[arg-type]


def test_wsd_ends_one_step_above_its_final_fraction_and_constant_has_none():
    wsd = ScheduleConfig(schedule="wsd", warmup_steps=0, decay_fraction=0.25, final_fraction=0.1)
    assert learning_rate(wsd, 1.0, 100, 99) == pytest.approx(0.1 + 0.9 / 25)
    assert learning_rate(wsd, 1.0, 100, 100) == pytest.approx(0.1)
    constant = ScheduleConfig(schedule="constant", warmup_steps=0, final_fraction=0.1)
    assert learning_rate(constant, 1.0, 100, 99) == 1.0


def test_wsd_is_flat_and_then_falls_linearly():
    schedule = ScheduleConfig(schedule="wsd", warmup_steps=0, decay_fraction=0.25, final_fraction=0.0)
    rates = np.array([learning_rate(schedule, 2.0, 100, step) for step in range(100)])
    assert (rates[:76] == 2.0).all()
    np.testing.assert_allclose(np.diff(rates[75:]), -2 / 25, rtol=1e-9)
    assert rates[-1] == pytest.approx(2 / 25)  # the last step still learns


@pytest.mark.parametrize(
    ("cls", "values", "message"),
    [
        (OptimizerConfig, {"learning_rate": 0.0}, "learning_rate must be positive; got 0.0"),
        (OptimizerConfig, {"learning_rate": float("nan")}, "learning_rate must be positive"),
        (OptimizerConfig, {"learning_rate": float("inf")}, "learning_rate must be positive"),
        (OptimizerConfig, {"adam_epsilon": -1.0}, "adam_epsilon must be positive; got -1.0"),
        (OptimizerConfig, {"clip_norm": float("nan")}, "must not be negative"),
        (OptimizerConfig, {"beta_2": 1.0}, "beta_2 must lie in"),
        (OptimizerConfig, {"weight_decay": -1.0}, "must not be negative"),
        (ScheduleConfig, {"warmup_steps": -1}, "warmup_steps must not be negative; got -1"),
        (ScheduleConfig, {"final_fraction": 2.0}, "final_fraction must lie in"),
    ],
)
def test_nonsense_is_refused(cls, values, message):
    with pytest.raises(ValueError, match=message):
        cls(**values)


def test_noam_peaks_at_the_end_of_the_warm_up_and_is_the_paper_s_formula():
    schedule, width, warmup = ScheduleConfig(schedule="noam", warmup_steps=40), 64, 40
    peak = noam_peak(width, warmup)
    rates = [learning_rate(schedule, peak, 1000, step) for step in range(1000)]
    paper = [width**-0.5 * min(s**-0.5, s * warmup**-1.5) for s in range(1, 1001)]  # Vaswani et al. 2017, eq. 3
    np.testing.assert_allclose(rates, paper, rtol=1e-12)
    assert int(np.argmax(rates)) == warmup - 1
    assert max(rates) == pytest.approx(peak)
