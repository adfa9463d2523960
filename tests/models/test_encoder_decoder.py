"""The encoder–decoder: what sees what, decoding with a cache, both places of the norm, the loss."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.layers.sinusoids import sinusoids
from llm_jax.models.encoder_decoder import forward as model
from llm_jax.models.encoder_decoder.config import EncoderDecoderConfig
from llm_jax.models.encoder_decoder.parameters import dimension_letters, init

SMALL = EncoderDecoderConfig(
    vocab_size=23, context_length=16, d_model=16, n_heads=2, n_encoder_layers=2, n_decoder_layers=2, mlp_width=24
)
SOURCE = jnp.array([[3, 4, 5, 6, 7, 8], [9, 10, 11, 0, 0, 0]])
IS_SOURCE = SOURCE > 0
TARGET = jnp.array([[1, 12, 13, 14, 15], [1, 16, 17, 18, 19]])


def jitter(tree, key=1):
    """Biases and gains that are not 0 and 1, so that leaving one out is seen."""
    keys = iter(jax.random.split(jax.random.key(key), len(jax.tree.leaves(tree))))
    return jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(next(keys), leaf.shape), tree)


def config_of(norm):
    return dataclasses.replace(SMALL, norm=norm)


@pytest.fixture(scope="module", params=["post", "pre"])
def norm(request):
    return request.param


@pytest.fixture(scope="module")
def params(norm):
    return jax.jit(lambda key: jitter(init(key, config_of(norm))))(jax.random.key(0))


@pytest.fixture(scope="module")
def states(plan, norm):
    """(parameters, source, its mask, target) → the states of the target."""
    config = config_of(norm)

    @jax.jit
    def run(params, source, is_source, target):
        return model.decode(params, target, model.read(params, source, is_source, config, plan), config, plan)[0]

    return run


def test_decoding_with_a_cache_equals_one_pass_without(params, states, plan, norm):
    config = config_of(norm)
    whole = states(params, SOURCE, IS_SOURCE, TARGET)
    step = jax.jit(partial(model.decode, config=config, plan=plan))
    memory = jax.jit(partial(model.read, config=config, plan=plan))(params, SOURCE, IS_SOURCE)
    cache = model.empty_cache(config, 2, 5, jnp.float32)
    found = []
    for at in range(5):
        hidden, cache = step(params, TARGET[:, at : at + 1], memory, cache=cache)
        found.append(hidden)
    np.testing.assert_allclose(jnp.concatenate(found, axis=1), whole, atol=2e-5)


def test_what_pads_the_source_changes_nothing(params, states):
    before = states(params, SOURCE, IS_SOURCE, TARGET)
    other = jnp.where(IS_SOURCE, SOURCE, 22)
    np.testing.assert_array_equal(states(params, other, IS_SOURCE, TARGET), before)
    longer = jnp.pad(SOURCE, ((0, 0), (0, 3)), constant_values=7)
    seen = jnp.pad(IS_SOURCE, ((0, 0), (0, 3)))
    np.testing.assert_allclose(states(params, longer, seen, TARGET), before, atol=2e-5)


def test_a_target_token_sees_those_before_it_and_the_whole_source(params, states):
    before = states(params, SOURCE, IS_SOURCE, TARGET)
    later = states(params, SOURCE, IS_SOURCE, TARGET.at[:, 3].set(2))
    np.testing.assert_array_equal(later[:, :3], before[:, :3])
    assert (jnp.abs(later - before)[:, 3:].max(axis=-1) > 1e-3).all()
    last = states(params, SOURCE.at[:, 2].set(20), IS_SOURCE, TARGET)
    assert (jnp.abs(last - before).max(axis=-1) > 1e-3).all()  # the first target token too


def test_the_source_sees_itself_in_both_directions(params, plan, norm):
    run = jax.jit(partial(model.encode, config=config_of(norm), plan=plan))
    before, after = (run(params, source, IS_SOURCE) for source in (SOURCE, SOURCE.at[0, 5].set(20)))
    assert (jnp.abs(after - before)[0].max(axis=-1) > 1e-3).all()


def test_source_and_target_share_one_scaled_embedding(params, plan, norm):
    config = config_of(norm)
    tokens = jnp.array([[5, 5]])
    x = model.embed(params, tokens, config, plan)
    expected = 4 * params.token_embedding[5] + sinusoids(2, 16)  # √16 = 4
    np.testing.assert_allclose(x[0], expected, atol=1e-6)
    later = model.embed(params, tokens, config, plan, jnp.array([[3, 1]]))
    np.testing.assert_allclose(later[0], 4 * params.token_embedding[5] + sinusoids(4, 16)[np.array([3, 1])], atol=1e-6)


def test_a_shift_of_positions_is_a_rotation_of_the_sinusoids():
    """PE(p + k) is PE(p) turned by an angle that depends on k alone: why the paper chose them (§3.5)."""
    table = sinusoids(40, 8)
    assert table[0].tolist() == [0] * 4 + [1] * 4
    np.testing.assert_allclose(table[1, 0], np.sin(1.0), rtol=1e-6)
    np.testing.assert_allclose(table[7, [1, 5]], [np.sin(0.7), np.cos(0.7)], rtol=1e-5)  # 10000^(2/8) = 10
    pairs = table[:, :4] + 1j * table[:, 4:]
    turned = pairs[5:] / pairs[:-5]
    np.testing.assert_allclose(turned, np.broadcast_to(turned[0], turned.shape), atol=1e-4)


def test_with_silent_half_blocks_post_norm_normalises_the_stream_and_pre_norm_leaves_it(params, states, norm):
    silent = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf * 0 if any(f".{name}." in jax.tree_util.keystr(path) for name in ("out", "down"))
        else leaf, params
    )  # fmt: skip

    def normalised(layer, x):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * layer.gain + layer.bias

    expected = np.asarray(4 * params.token_embedding[TARGET] + sinusoids(5, 16))
    if norm == "pre":
        expected = normalised(params.decoder_norm, expected)
    else:
        for block in params.decoder_blocks:
            for layer in (block.norm_1, block.norm_2, block.norm_3):
                expected = normalised(layer, expected)
    np.testing.assert_allclose(states(silent, SOURCE, IS_SOURCE, TARGET), expected, atol=3e-5)


def test_the_loss_is_the_sum_over_weighted_targets_and_their_weight(params, states, plan, norm):
    run = jax.jit(partial(model.loss, config=config_of(norm), plan=plan), static_argnames="smoothing")
    weights = jnp.array([[1.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    total, weight = run(params, SOURCE, IS_SOURCE, TARGET, weights)
    log_p = jax.nn.log_softmax(model.logits(params, states(params, SOURCE, IS_SOURCE, TARGET[:, :-1])))
    right = jnp.take_along_axis(log_p, TARGET[:, 1:, None], axis=-1)[..., 0]
    np.testing.assert_allclose(total, -(right * weights).sum(), rtol=1e-5)
    assert weight == 4
    smoothed, _ = run(params, SOURCE, IS_SOURCE, TARGET, weights, smoothing=0.1)
    expected = -(0.9 * right + 0.1 * log_p.mean(axis=-1))
    np.testing.assert_allclose(smoothed, (expected * weights).sum(), rtol=1e-5)


def test_every_axis_has_a_letter(params, norm):
    letters = dimension_letters(config_of(norm))
    assert jax.tree.structure(letters) == jax.tree.structure(params)
    assert all(len(a) == b.ndim for a, b in zip(jax.tree.leaves(letters), jax.tree.leaves(params), strict=True))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("n_heads", 3, "must divide d_model; got d_model=16, n_heads=3"),
        ("n_encoder_layers", -1, "n_encoder_layers must be a whole number of at least 0; got -1"),
        ("n_decoder_layers", 0, "n_decoder_layers must be a whole number of at least 1; got 0"),
    ],
)
def test_a_config_refuses_nonsense(field, value, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(SMALL, **{field: value})
    with pytest.raises(ValueError, match="d_model must be even"):
        EncoderDecoderConfig(d_model=15, n_heads=3)


def test_more_tokens_than_positions_are_refused(plan):
    with pytest.raises(ValueError, match="at most 16 tokens, the model's positions; got 17"):
        model.encode(init(jax.random.key(0), SMALL), jnp.zeros((1, 17), int), jnp.ones((1, 17), bool), SMALL, plan)
