"""LoRA beside its formula: W + s·A·B, in every kernel, merged or not, on one device or a mesh, and its cost."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from adapting import CONFIGS, FOUR, GPT2, LLAMA, moved
from small_models import opinionated

from llm_jax import adapters as lora
from llm_jax import sharding
from llm_jax.adapters import LoraConfig
from llm_jax.adapters.config import targets_of
from llm_jax.config import Execution, model_preset
from llm_jax.decode import loop
from llm_jax.decode.options import Sampling
from llm_jax.kernels.projections_apart import projections_apart
from llm_jax.layers.adapted import with_adapters
from llm_jax.layers.dropout import Dropout, dropout
from llm_jax.layers.linear import linear
from llm_jax.models import decoder

TOKENS = jnp.asarray(np.random.default_rng(0).integers(0, 60, (2, 16)))


@partial(jax.jit, static_argnames=("config", "plan"))
def logits(params, config, plan):
    hidden, _ = decoder.forward(params, TOKENS, config, plan)
    return decoder.logits(params, hidden, config, plan)


def plan_of(kind: str) -> decoder.Plan:
    plan = decoder.make_plan(Execution(kernels="plain" if kind == "plain" else "auto"))
    if kind == "apart":
        plan = plan._replace(kernels=plan.kernels._replace(projections_apart=projections_apart))
    return plan


@pytest.mark.parametrize("kind", ["auto", *(pytest.param(k, marks=pytest.mark.long) for k in ("plain", "apart"))])
@pytest.mark.parametrize("name", CONFIGS)
def test_adapters_beside_the_weights_compute_what_merged_weights_do(name, kind):
    config = CONFIGS[name]
    params, adapters, plan = opinionated(config, 4), moved(config), plan_of(kind)
    unmerged = logits(lora.attach(params, adapters, config, FOUR), config, plan)
    merged = logits(lora.merge(params, adapters, config, FOUR), config, plan)
    assert np.abs(merged - logits(params, config, plan)).max() > 0.1
    np.testing.assert_allclose(unmerged, merged, rtol=1e-5, atol=1e-5 * np.abs(merged).max())


@pytest.mark.parametrize(("rslora", "scale"), [(False, 6 / 4), (True, 6 / 2)])
def test_a_merged_weight_is_w_plus_alpha_over_rank_times_a_b(rslora, scale):
    settings = dataclasses.replace(FOUR, rslora=rslora)
    params, adapters = opinionated(GPT2, 1), moved(GPT2, settings)
    block, merged = params.blocks[1], lora.merge(params, adapters, GPT2, settings).blocks[1]
    pairs = adapters.blocks[1]
    for path, formula in (
        ("attention.qkv", "dj,jcnh->dcnh"),
        ("attention.out", "nhj,jd->nhd"),
        ("mlp.up", "dj,jf->df"),
        ("mlp.down", "fj,jd->fd"),
    ):
        part, name = path.split(".")
        before, after = (getattr(getattr(one, part), name).weight for one in (block, merged))
        expected = before + scale * np.einsum(formula, pairs[path].a, pairs[path].b)
        np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(merged.mlp.up.bias, block.mlp.up.bias)


def test_what_is_merged_is_taken_out_again():
    params, adapters = opinionated(LLAMA, 4), moved(LLAMA)
    merged = lora.merge(params, adapters, LLAMA, FOUR)
    for before, after in zip(*map(jax.tree.leaves, (params, lora.unmerge(merged, adapters, LLAMA, FOUR))), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)


def test_bfloat16_weights_are_merged_in_float32():
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), opinionated(LLAMA, 1))
    adapters = jax.tree.map(lambda x: 0.01 * x, moved(LLAMA))
    weight, pair = params.blocks[0].mlp.up.weight, adapters.blocks[0]["mlp.up"]
    merged = lora.merge(params, adapters, LLAMA, FOUR).blocks[0].mlp.up.weight
    assert merged.dtype == jnp.float32
    np.testing.assert_allclose(merged - weight.astype(jnp.float32), 1.5 * pair.a @ pair.b, rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("name", CONFIGS)
def test_fresh_adapters_change_nothing_and_a_is_within_its_bound(name):
    config, plan = CONFIGS[name], plan_of("auto")
    params, fresh = opinionated(config, 4), lora.init(jax.random.key(0), config, FOUR)
    noise = Dropout(jax.random.key(3), 0.5)
    for more in (None, noise):
        attached = lora.attach(params, fresh, config, FOUR, more)
        np.testing.assert_allclose(logits(attached, config, plan), logits(params, config, plan), rtol=1e-6, atol=1e-6)
    for path, pair in fresh.blocks[0].items():
        bound = 1 / np.sqrt(pair.a.size / 4)
        assert 0.8 * bound < np.abs(pair.a).max() <= bound, path
        assert not pair.b.any()
    assert np.abs(fresh.blocks[0]["mlp.up"].a - fresh.blocks[1]["mlp.up"].a).max() > 0


def test_dropout_falls_on_the_adapters_input_alone():
    """With one number dropped or doubled, x·A·B is the product with the changed x, and x·W is as before."""
    layer = lora.attach(opinionated(LLAMA, 1), moved(LLAMA), LLAMA, FOUR, Dropout(jax.random.key(0), 0.5)).blocks[0]
    x = jnp.ones((1, 1, 32))
    adapted = layer.mlp.up
    found = with_adapters(linear)(adapted, x)
    kept = dropout(x, adapted.noise)
    assert set(np.unique(kept)) == {0.0, 2.0}
    expected = x @ adapted.base.weight + kept @ adapted.down.weight @ adapted.up.weight
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    other = layer.mlp.gate.noise.key
    assert (jax.random.key_data(other) != jax.random.key_data(adapted.noise.key)).any()


@pytest.mark.parametrize(
    "execution",
    [
        {},
        *(
            pytest.param(one, marks=pytest.mark.long)
            for one in ({"scan_layers": True}, {"remat": True}, {"kernels": "plain"})
        ),
    ],
)
def test_gradients_are_those_of_the_merged_weights_by_the_chain_rule(execution):
    """∂ℓ/∂A = s·∂ℓ/∂W′·Bᵀ and ∂ℓ/∂B = s·Aᵀ·∂ℓ/∂W′."""
    plan, params, adapters = decoder.make_plan(Execution(**execution)), opinionated(GPT2, 2), moved(GPT2)

    def loss(params):
        return decoder.loss(params, TOKENS[:, :-1], TOKENS[:, 1:], GPT2, plan)[0]

    found = jax.jit(jax.grad(lambda adapters: loss(lora.attach(params, adapters, GPT2, FOUR))))(adapters)
    of_weights = jax.jit(jax.grad(loss))(lora.merge(params, adapters, GPT2, FOUR))
    for number in range(2):
        pair, d = adapters.blocks[number]["attention.qkv"], of_weights.blocks[number].attention.qkv.weight
        expected_a = 1.5 * np.einsum("dcnh,jcnh->dj", d, pair.b)
        expected_b = 1.5 * np.einsum("dj,dcnh->jcnh", pair.a, d)
        ours = found.blocks[number]["attention.qkv"]
        np.testing.assert_allclose(ours.a, expected_a, rtol=1e-4, atol=1e-5 * np.abs(expected_a).max())
        np.testing.assert_allclose(ours.b, expected_b, rtol=1e-4, atol=1e-5 * np.abs(expected_b).max())


@pytest.mark.parametrize(
    "execution",
    [
        {},
        *(
            pytest.param(one, marks=pytest.mark.long)
            for one in ({"loss_chunks": 3}, {"scan_layers": True}, {"kernels": "plain"})
        ),
    ],
    ids=str,
)
def test_no_gradient_of_a_frozen_weight_is_computed(execution):
    """Of forward, ∂x and ∂W, each as costly as the others, the last is left out: two thirds of a whole step."""
    config = dataclasses.replace(GPT2, d_model=64, vocab_size=256, n_layers=3)
    settings, plan = LoraConfig(rank=1), decoder.make_plan(Execution(**execution))
    params = jax.eval_shape(lambda key: decoder.init(key, config), jax.random.key(0))
    adapters = jax.eval_shape(lambda key: lora.init(key, config, settings), jax.random.key(0))

    def loss(params):
        return decoder.loss(params, TOKENS[:, :15], TOKENS[:, 1:], config, plan)[0]

    def flops(compute, *trees) -> float:
        return jax.jit(compute).lower(*trees).compile().cost_analysis()["flops"]

    whole = flops(jax.value_and_grad(loss), params)
    of_lora = flops(
        lambda ad, base: jax.value_and_grad(lambda a: loss(lora.attach(base, a, config, settings)))(ad),
        adapters,
        params,
    )
    assert 0.55 < of_lora / whole < 0.74


@pytest.mark.parametrize("name", ["gpt2", pytest.param("llama", marks=pytest.mark.long)])
def test_a_mesh_gives_the_same_loss_and_gradients(name):
    config, plan = dataclasses.replace(CONFIGS[name], n_layers=1), plan_of("auto")
    params, adapters = opinionated(config, 2), moved(config)

    def loss(adapters, params, tokens):
        attached = lora.attach(params, adapters, config, FOUR)
        return decoder.loss(attached, tokens[:, :-1], tokens[:, 1:], config, plan)[0]

    expected = jax.jit(jax.value_and_grad(loss))(adapters, params, TOKENS)
    mesh = sharding.make_mesh(2, 2, 2)
    letters = lora.dimension_letters(config, FOUR)
    placed = (
        jax.device_put(adapters, sharding.shardings(mesh, letters)),
        jax.device_put(params, sharding.shardings(mesh, decoder.dimension_letters(config))),
        jax.device_put(jnp.tile(TOKENS, (2, 1)), sharding.named(mesh, "BT")),
    )
    found = jax.jit(jax.value_and_grad(loss))(*placed)
    for ours, one in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(ours, 2 * one, rtol=1e-4, atol=1e-4 * np.abs(one).max())


@pytest.mark.parametrize("name", CONFIGS)
def test_each_axis_has_its_letter(name):
    config = CONFIGS[name]
    sizes = {"D": 32, "N": 4, "K": config.kv_heads, "H": config.d_head, "F": config.d_hidden, "J": 4, "3": 3}
    shapes = jax.tree.map(jnp.shape, moved(config))
    letters = jax.tree.map(lambda text: tuple(sizes[one] for one in text), lora.dimension_letters(config, FOUR))
    assert letters == shapes


@pytest.mark.parametrize(("name", "n_rows"), [("gpt2", 1), ("llama", None)])
def test_weights_prepared_for_decoding_keep_their_adapters(name, n_rows):
    config, plan = dataclasses.replace(CONFIGS[name], n_layers=1), plan_of("auto")
    params, adapters = opinionated(config, 4), jax.tree.map(lambda x: 3 * x, moved(config))
    asked = ([[1, 2, 3]], config, plan, Sampling(temperature=2.0, seed=1), 12)

    def written(params):
        return loop.generate(loop.prepare(params, plan, n_rows), *asked)

    with_adapters = written(lora.attach(params, adapters, config, FOUR))
    assert with_adapters == written(lora.merge(params, adapters, config, FOUR))
    assert with_adapters != written(params)


COUNTED = {
    "gpt2-124m": (294912, 589824, 2359296),
    "gpt2-350m": (786432, 1572864, 6291456),
    "gpt2-774m": (1474560, 2949120, 11796480),
    "gpt2-1558m": (2457600, 4915200, 19660800),
}


@pytest.mark.parametrize("name", COUNTED)
def test_trained_numbers_are_as_many_as_peft_counts(name):
    """PEFT 0.21.2's `print_trainable_parameters`: c_attn with ranks 8 and 16, all-linear with 16."""
    config = model_preset(name)
    for expected, rank, target in zip(COUNTED[name], (8, 16, 16), ("c_attn", "c_attn", "all-linear"), strict=True):
        settings = LoraConfig(rank=rank, targets=(target,))
        shapes = jax.eval_shape(lambda key, s=settings: lora.init(key, config, s), jax.random.key(0))
        assert lora.trainable(shapes) == expected


@pytest.mark.parametrize(
    ("config", "names", "paths"),
    [
        (GPT2, ("all-linear",), ["attention.qkv", "attention.out", "mlp.up", "mlp.down"]),
        (GPT2, ("c_attn",), ["attention.qkv"]),
        (GPT2, ("c_proj",), ["attention.out", "mlp.down"]),
        (GPT2, ("mlp.c_proj", "attn.c_attn"), ["attention.qkv", "mlp.down"]),
        (LLAMA, ("v_proj", "q_proj"), ["attention.qkv.q", "attention.qkv.v"]),
        (LLAMA, ("gate_proj", "self_attn.o_proj"), ["attention.out", "mlp.gate"]),
    ],
)
def test_targets_have_the_names_that_peft_gives_them(config, names, paths):
    assert [target.path for target in targets_of(config, LoraConfig(targets=names))] == paths


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (
            GPT2,
            {"targets": ("q_proj",)},
            "'q_proj' is no projection of this model: it has c_attn, attn.c_proj, c_fc, mlp.c_proj",
        ),
        (LLAMA, {"targets": ("c_attn",)}, "it has q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"),
        (GPT2, {"targets": ("lm_head",)}, "'lm_head' is an embedding or the head"),
        (LLAMA, {"targets": ("q_proj", "model.embed_tokens")}, "'model.embed_tokens' is an embedding or the head"),
        (LLAMA, {"rank": 33}, "rank 33 of LoRA is above the model's width of 32"),
    ],
)
def test_settings_that_do_not_fit_the_model_are_refused(config, settings, message):
    with pytest.raises(ValueError, match=message):
        targets_of(config, LoraConfig(**settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "rank of LoRA must be a whole number of at least 1; got 0"),
        ({"rank": 2.0}, "rank of LoRA must be a whole number of at least 1; got 2.0"),
        ({"alpha": 0}, "alpha of LoRA must be a number above 0; got 0"),
        ({"alpha": float("inf")}, "alpha of LoRA must be a number above 0; got inf"),
        ({"dropout": 1}, "dropout of LoRA must be a number from 0 to below 1; got 1"),
        ({"rslora": 1}, "rslora of LoRA must be true or false; got 1"),
        ({"targets": ()}, "targets of LoRA is empty"),
        ({"targets": "q_proj"}, "targets of LoRA must be a list of names; got 'q_proj'"),
    ],
)
def test_nonsense_is_refused_when_settings_are_made(settings, message):
    with pytest.raises(ValueError, match=message):
        LoraConfig(**settings)


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (dataclasses.replace(LLAMA, n_layers=3), FOUR, "those of 2 blocks, and the model has 3"),
        (dataclasses.replace(LLAMA, mlp_width=64), FOUR, r"mlp.down in block 0 has a of shape \(48, 4\); .*\(64, 4\)"),
        (LLAMA, LoraConfig(rank=5), r"attention.out in block 0 has a of shape \(4, 8, 4\)"),
        (LLAMA, LoraConfig(rank=4, targets=("q_proj",)), "expected attention.qkv.q: take the targets"),
    ],
)
def test_adapters_of_another_base_or_other_settings_are_refused(config, settings, message):
    with pytest.raises(ValueError, match=message):
        lora.attach(opinionated(config, 1), moved(LLAMA), config, settings)


def test_the_state_of_a_run_at_124m_takes_a_fiftieth_of_full_fine_tunings():
    """Parameters and both moments of what is trained; at rank 16, of every projection."""
    config, settings = model_preset("gpt2-124m"), LoraConfig(rank=16)
    whole = jax.eval_shape(lambda key: decoder.init(key, config), jax.random.key(0))
    adapters = jax.eval_shape(lambda key: lora.init(key, config, settings), jax.random.key(0))
    n_bytes = [sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree)) for tree in (adapters, whole)]
    assert 3 * n_bytes[0] == 28_311_552
    assert n_bytes[0] / n_bytes[1] < 0.02
