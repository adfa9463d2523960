"""Properties of the decoder: causality, size, initialisation, and independence of how it is executed."""

import dataclasses
import inspect
import json
import math
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.config import PRESETS, DecoderConfig, Execution, RotaryScaling, from_dict, model_preset
from llm_jax.layers.dropout import Dropout
from llm_jax.models import decoder

TINY = DecoderConfig(vocab_size=100, context_length=16, d_model=32, n_heads=4, n_layers=3)


@pytest.fixture(scope="module")
def params():
    return decoder.init(jax.random.key(0), TINY)


@pytest.fixture(scope="module")
def tokens():
    return jax.random.randint(jax.random.key(1), (2, 17), 0, TINY.vocab_size)


forward = jax.jit(decoder.forward, static_argnames=("config", "plan"))


@partial(jax.jit, static_argnames="execution")
def loss_and_gradients(params, tokens, execution):
    def mean(params):
        total, weight = decoder.loss(params, tokens[:, :-1], tokens[:, 1:], TINY, decoder.make_plan(execution))
        return total / weight

    return jax.value_and_grad(mean)(params)


def test_parameter_counts_are_the_published_ones():
    assert model_preset("gpt2-124m").n_parameters == 124_439_808
    assert model_preset("gpt2-350m").n_parameters == 354_823_168
    assert model_preset("gpt2-774m").n_parameters == 774_030_080
    assert model_preset("gpt2-1558m").n_parameters == 1_557_611_200


@pytest.mark.parametrize("name", PRESETS)
def test_parameter_count_is_that_of_the_tree(name):
    config = model_preset(name)
    tree = jax.eval_shape(lambda key: decoder.init(key, config), jax.random.key(0))
    stored = sum(leaf.size for leaf in jax.tree.leaves(tree))
    padding = (config.padded_vocab_size - config.vocab_size) * config.d_model
    assert stored - padding * (1 if config.tied_head else 2) == config.n_parameters


def test_flops_per_token_are_those_of_nanogpt_and_llm_c():
    config = model_preset("gpt2-124m")
    assert config.flops_per_token("nanogpt") == pytest.approx(855.4e6, rel=1e-4)
    assert config.flops_per_token("llm.c") == pytest.approx(803.5e6, rel=1e-4)


def test_dimension_letters_name_every_axis_of_every_parameter(params):
    sizes = {"V": 128, "D": 32, "P": 16, "N": 4, "H": 8, "F": 128, "3": 3}
    letters = decoder.dimension_letters(TINY)
    jax.tree.map(lambda x, axes: np.testing.assert_equal(x.shape, tuple(sizes[a] for a in axes)), params, letters)


def test_future_tokens_get_zero_gradient(params, tokens):
    def logit_at(embedded_BTD):
        x_BTD = embedded_BTD
        for layer in params.blocks:
            x_BTD, _ = decoder.block(layer, x_BTD, TINY, decoder.make_plan(Execution()))
        return x_BTD[0, 5].sum()

    embedded = params.token_embedding[tokens[:, :-1]]
    gradient = jax.jit(jax.grad(logit_at))(embedded)[0]
    assert (gradient[6:] == 0).all()
    assert (jnp.abs(gradient[:6]).max(axis=-1) > 0).all()


def test_positions_are_told_apart(params):
    same = jnp.full((1, 8), 7)
    hidden, _ = forward(params, same, TINY, decoder.make_plan(Execution()))
    assert np.abs(np.diff(np.asarray(hidden[0]), axis=0)).max(axis=1).min() > 1e-3


@pytest.mark.parametrize(
    "execution",
    [
        Execution(scan_layers=True),
        Execution(remat=True),
        Execution(loss_chunks=4),
        Execution(kernels="plain"),
    ],
    ids=str,
)
def test_execution_changes_no_number_beyond_rounding(params, tokens, execution):
    expected_loss, expected = loss_and_gradients(params, tokens, Execution())
    loss, gradients = loss_and_gradients(params, tokens, execution)
    assert float(loss) == pytest.approx(float(expected_loss), rel=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7), gradients, expected)


@pytest.mark.parametrize("execution", [Execution(scan_layers=True), Execution(remat=True)], ids=str)
def test_dropout_is_the_same_however_the_layers_are_run(params, tokens, execution):
    """And it is in every place: after the embedding, and in each block after the attention and after the MLP."""
    noise = Dropout(jax.random.key(3), 0.25)
    expected, _ = forward(params, tokens[:, :-1], TINY, decoder.make_plan(Execution()), noise=noise)
    found, _ = forward(params, tokens[:, :-1], TINY, decoder.make_plan(execution), noise=noise)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("place", ["embedding", "attention", "mlp"])
def test_dropout_is_where_gpt2_has_it(params, tokens, place):
    """With all but one place silenced, what dropout does is still seen, as zeros at its rate."""
    plan, noise = decoder.make_plan(Execution()), Dropout(jax.random.key(3), 0.25)
    if place == "embedding":
        still = jax.tree.map(lambda x: x * 0, params.blocks)  # blocks that add nothing
        seen, _ = decoder._blocks(still, jnp.ones((1, 8, TINY.d_model)), TINY, plan, None, None, None, noise)
        assert (seen == 1).all()
        embedded = decoder.forward(dataclasses.replace(params, blocks=still), tokens[:, :-1], TINY, plan, noise=noise)[
            0
        ]
        plain = decoder.forward(dataclasses.replace(params, blocks=still), tokens[:, :-1], TINY, plan)[0]
        assert (embedded != plain).all(axis=-1).all()
        return
    layer = params.blocks[0]
    other = "mlp" if place == "attention" else "attention"
    layer = dataclasses.replace(layer, **{other: jax.tree.map(lambda x: x * 0, getattr(layer, other))})
    x_BTD = params.token_embedding[tokens[:, :-1]]
    added, _ = decoder.block(layer, x_BTD, TINY, plan, noise=noise)
    plain, _ = decoder.block(layer, x_BTD, TINY, plan)
    is_left_out = np.asarray(added == x_BTD)
    assert is_left_out.mean() == pytest.approx(0.25, abs=0.06)
    np.testing.assert_allclose(np.where(is_left_out, 0, (plain - x_BTD) / 0.75), added - x_BTD, rtol=1e-3, atol=1e-6)


def test_bfloat16_stays_within_its_precision(params, tokens):
    loss, gradients = loss_and_gradients(params, tokens, Execution(dtype="bfloat16"))
    expected_loss, expected = loss_and_gradients(params, tokens, Execution())
    assert float(loss) == pytest.approx(float(expected_loss), rel=1e-3)
    assert gradients.blocks[0].mlp.up.weight.dtype == jnp.float32
    cosine = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(gradients), jax.tree.leaves(expected), strict=True))
    norms = [math.sqrt(sum(float(jnp.vdot(x, x)) for x in jax.tree.leaves(tree))) for tree in (gradients, expected)]
    assert float(cosine) / (norms[0] * norms[1]) > 0.999


def test_initial_loss_is_that_of_a_uniform_guess():
    config = model_preset("gpt2-nano")
    params = decoder.init(jax.random.key(0), config)
    tokens = jax.random.randint(jax.random.key(1), (2, 65), 0, config.vocab_size)
    loss = jax.jit(decoder.loss, static_argnames=("config", "plan"))
    total, weight = loss(params, tokens[:, :-1], tokens[:, 1:], config, decoder.make_plan(Execution()))
    assert float(total / weight) == pytest.approx(math.log(config.vocab_size), abs=0.1)


def test_initial_spread_is_gpt2s():
    config = DecoderConfig(vocab_size=2000, context_length=64, d_model=256, n_heads=4, n_layers=8)
    params = decoder.init(jax.random.key(0), config)
    layer = params.blocks[3]
    residual = 0.02 / math.sqrt(2 * config.n_layers)
    for weight, std in (
        (params.token_embedding[: config.vocab_size], 0.02),
        (params.position_embedding, 0.02),
        (layer.attention.qkv.weight, 0.02),
        (layer.mlp.up.weight, 0.02),
        (layer.attention.out.weight, residual),
        (layer.mlp.down.weight, residual),
    ):
        assert float(weight.std()) == pytest.approx(std, rel=0.03)
    assert (layer.attention.qkv.bias == 0).all()
    assert (layer.norm_1.gain == 1).all()


def test_logits_have_no_padding(params, tokens):
    hidden, _ = forward(params, tokens[:, :-1], TINY, decoder.make_plan(Execution()))
    logits = decoder.logits(params, hidden, TINY)
    assert logits.shape[-1] == TINY.vocab_size
    assert np.isfinite(logits).all()


def test_padding_rows_of_the_embedding_are_zero_and_get_no_gradient(params, tokens):
    _, gradients = loss_and_gradients(params, tokens, Execution())
    assert (params.token_embedding[TINY.vocab_size :] == 0).all()
    assert (gradients.token_embedding[TINY.vocab_size :] == 0).all()


def test_cudnn_attention_is_refused_where_it_cannot_run():
    if jax.default_backend() == "gpu":
        pytest.skip("this machine can")
    with pytest.raises(ValueError, match="attention=cudnn needs a GPU and bfloat16"):
        decoder.make_plan(Execution(attention="cudnn"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"d_model": 100, "n_heads": 12}, "d_model=100, n_heads=12: try n_heads=10"),
        ({"n_layers": 0}, "n_layers must be at least 1; got 0"),
        ({"vocab_size": -1}, "vocab_size must be at least 1"),
        ({"norm_epsilon": 0.0}, "norm_epsilon must lie between"),
        ({"norm_epsilon": None}, "norm_epsilon must lie between 0 and 1; got None"),
        ({"norm_epsilon": math.nan}, "norm_epsilon must lie between"),
        ({"n_layers": 2.5}, "n_layers must be a whole number; got 2.5"),
        ({"d_model": 768.0}, "d_model must be a whole number; got 768.0"),
        ({"n_layers": True}, "n_layers must be a whole number; got True"),
        ({"n_heads": "12"}, "n_heads must be a whole number; got '12'"),
        ({"vocab_size": math.nan}, "vocab_size must be a whole number; got nan"),
        ({"mlp_width": 0}, "mlp_width must be at least 1; got 0"),
        ({"mlp_width": 8.0}, "mlp_width must be a whole number; got 8.0"),
        ({"activation": "gelu_new"}, "activation must be one of gelu_tanh, gelu, relu, silu; got 'gelu_new'"),
        ({"tied_head": None}, "tied_head must be true or false; got None"),
        ({"scale_scores": 1}, "scale_scores must be true or false; got 1"),
        ({"context_length": None}, "context_length must be a whole number; got None"),
    ],
)
def test_nonsense_configs_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        DecoderConfig(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dtype": "float16"}, "dtype must be one of auto, float32, bfloat16; got 'float16'"),
        ({"attention": "flash"}, "attention must be one of auto, xla, cudnn; got 'flash'"),
        ({"dtype": None}, "dtype must be one of"),
        ({"loss_chunks": 1.5}, "loss_chunks must be a whole number; got 1.5"),
        ({"loss_chunks": 0}, "loss_chunks must be at least 1; got 0"),
    ],
)
def test_an_execution_that_does_not_exist_is_refused_when_it_is_built(values, message):
    with pytest.raises(ValueError, match=message):
        Execution(**values)


ORIGINAL = {"vocab_size", "context_length", "d_model", "n_heads", "n_layers", "norm_epsilon"}
ADDED = {field.name for field in dataclasses.fields(DecoderConfig)} - ORIGINAL


def test_a_config_from_before_other_families_is_that_of_a_gpt2():
    values = dataclasses.asdict(TINY)
    assert from_dict(DecoderConfig, {name: value for name, value in values.items() if name not in ADDED}) == TINY


def test_a_config_with_scaled_rotary_positions_comes_back_from_json():
    scaled = dataclasses.replace(model_preset("llama-nano"), rotary_scaling=RotaryScaling("llama3", 8.0, 64))
    assert from_dict(DecoderConfig, json.loads(json.dumps(dataclasses.asdict(scaled)))) == scaled


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "dynamic"}, "kind must be one of linear, llama3, yarn; got 'dynamic'"),
        ({"factor": 0.5}, "factor of the rotary scaling must be at least 1; got 0.5"),
        ({"factor": None}, "factor of the rotary scaling must be a number above 0; got None"),
        ({"low_freq_factor": 4.0}, "low_freq_factor must be below high_freq_factor; got 4.0 and 4.0"),
        ({"kind": "yarn", "beta_slow": 32.0}, "beta_slow must be below beta_fast; got 32.0 and 32.0"),
    ],
)
def test_a_scaling_that_does_not_exist_is_refused_when_it_is_built(values, message):
    with pytest.raises(ValueError, match=message):
        RotaryScaling(**{"kind": "llama3", "factor": 8.0, "original_context_length": 64} | values)


@pytest.mark.parametrize("lost", [field.name for field in dataclasses.fields(DecoderConfig) if field.name not in ADDED])
def test_a_model_s_config_that_lost_a_field_is_refused_and_not_filled_in(lost):
    values = dataclasses.asdict(TINY)
    assert from_dict(DecoderConfig, values) == TINY
    with pytest.raises(ValueError, match=f"DecoderConfig needs a '{lost}'"):
        from_dict(DecoderConfig, {name: value for name, value in values.items() if name != lost})
    with pytest.raises(ValueError, match="DecoderConfig needs a 'context_length'"):
        from_dict(DecoderConfig, {})


def test_a_setting_newer_than_a_file_takes_its_default_where_that_is_asked_for():
    assert from_dict(Execution, {"remat": True}, fill=True) == Execution(remat=True)
    with pytest.raises(ValueError, match="no field 'flash'"):
        from_dict(Execution, {"flash": True}, fill=True)


@pytest.mark.parametrize("shape", [(2, 17), (2, 0), (0, 4), (4,), (1, 2, 3)], ids=str)
def test_tokens_that_are_no_rows_within_the_context_are_refused_before_anything_is_computed(params, shape):
    unchecked = inspect.unwrap(decoder.forward)  # without the tests' own check of annotations, which users do not have
    tokens, plan, message = (
        jnp.zeros(shape, jnp.int32),
        decoder.make_plan(Execution()),
        "rows of 1 to 16 ids, .* got shape ",
    )
    with pytest.raises(ValueError, match=message + re.escape(str(shape))):
        unchecked(params, tokens, TINY, plan)
    if shape != (2, 17):  # with a cache, padding may go beyond the context
        with pytest.raises(ValueError, match=message):
            unchecked(params, tokens, TINY, plan, decoder.empty_cache(TINY, 2, 32, plan.dtype))


def test_unknown_preset_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'gpt3'; one of: gpt2-nano"):
        model_preset("gpt3")


@pytest.mark.parametrize("name", ["gpt2-nano", "llama-nano"])
def test_no_two_parameters_share_an_array(name):
    """A step that donates its parameters would give one array away twice."""
    leaves = jax.tree.leaves(decoder.init(jax.random.key(0), model_preset(name)))
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)
