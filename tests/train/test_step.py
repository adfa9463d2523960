"""The step: accumulation, skipping of what is not finite, and agreement of every mesh with one device."""

import itertools
import math
from dataclasses import replace
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from forms import forms

from llm_jax import sharding
from llm_jax.config import DecoderConfig, Execution, llama
from llm_jax.layers.loss import token_losses
from llm_jax.models import decoder
from train.optim.config import OptimizerConfig
from train.optim.optimizer import make_optimizer
from train.pretrain.step import TrainState, accumulate_gradients, init_state, make_train_step, state_shardings

TINY = DecoderConfig(vocab_size=100, context_length=8, d_model=32, n_heads=8, n_layers=1)
PLAN = decoder.make_plan(Execution())
OPTIMIZER = make_optimizer(OptimizerConfig(), decoder.dimension_letters(TINY))
LR = np.float32(3e-3)


@pytest.fixture(scope="module")
def tokens():
    return jax.random.randint(jax.random.key(1), (16, 9), 0, TINY.vocab_size)


@pytest.fixture(scope="module")
def state() -> TrainState:
    return init_state(jax.random.key(0), TINY, OPTIMIZER)


@lru_cache
def step_of(micro_batches: int):
    """The step of the tiny model on one device, compiled once for all tests."""
    return jax.jit(make_train_step(TINY, PLAN, OPTIMIZER, micro_batches))


gradients_of = jax.jit(accumulate_gradients, static_argnames=("config", "plan"))


@pytest.mark.parametrize("micro_batches", [2, 4])
def test_accumulated_gradients_are_those_of_the_whole_batch(state, tokens, micro_batches):
    (whole_loss, _), whole = gradients_of(state.params, tokens[None], TINY, PLAN)
    cut = tokens.reshape(-1, micro_batches, 9).swapaxes(0, 1)
    (loss, _), gradients = gradients_of(state.params, cut, TINY, PLAN)
    assert float(loss) == pytest.approx(float(whole_loss), rel=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7), gradients, whole)


def test_accumulation_happens_inside_the_compiled_step(state, tokens):
    (accumulated, measured), (whole, expected) = (step_of(number)(state, tokens, LR) for number in (4, 1))
    assert float(measured.loss) == pytest.approx(float(expected.loss), rel=1e-6)
    assert float(measured.grad_norm) == pytest.approx(float(expected.grad_norm), rel=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), accumulated.params, whole.params)


def test_the_step_descends(state, tokens):
    losses = []
    for _ in range(10):
        state, measured = step_of(1)(state, tokens, LR)
        losses.append(float(measured.loss))
    assert losses[-1] < losses[0] - 0.1
    assert int(state.step) == 10


def test_a_step_that_is_not_finite_leaves_parameters_and_optimizer_untouched(state, tokens):
    step = step_of(1)
    good, _ = step(state, tokens, LR)
    positions = good.params.position_embedding.at[3, 0].set(jnp.nan)
    poisoned = replace(good, params=replace(good.params, position_embedding=positions))
    after, measured = step(poisoned, tokens, LR)
    assert not np.isfinite(measured.loss)
    jax.tree.map(np.testing.assert_array_equal, after.params, poisoned.params)
    jax.tree.map(np.testing.assert_array_equal, after.optimizer, poisoned.optimizer)
    assert int(after.step) == int(poisoned.step) + 1
    assert int(measured.skipped) == 1
    after, measured = step(after, tokens, LR)
    assert int(measured.skipped) == 2
    _, measured = step(good, tokens, LR)
    assert int(measured.skipped) == 0


@pytest.fixture(scope="module")
def ragged(state, tokens):
    """Weights of targets that are few and many, and the loss and gradients by definition."""
    lengths = np.array([8, 1, 8, 2, 8, 1, 7, 1, 8, 3, 8, 1, 8, 0, 8, 1])
    weights = (np.arange(8) < lengths[:, None]) * np.linspace(0.5, 2, 16)[:, None].astype(np.float32)

    def loss_of(params, row, weight):  # one sequence at a time, each token's loss by itself
        hidden, _ = decoder.forward(params, row[None, :-1], TINY, PLAN)
        return (token_losses(hidden[0], params.token_embedding, row[1:], TINY.vocab_size) * weight).sum()

    each = jax.jit(jax.value_and_grad(loss_of))
    losses, gradients = zip(*(each(state.params, *row) for row in zip(tokens, weights, strict=True)), strict=True)
    total = weights.sum()
    return weights, sum(losses) / total, jax.tree.map(lambda *each: np.sum(each, axis=0) / total, *gradients)


@pytest.mark.parametrize("micro_batches", [1, 2, 4])
def test_gradients_of_ragged_weights_are_those_of_the_whole_however_it_is_cut(state, tokens, ragged, micro_batches):
    """Micro-batches whose targets are few and many: a mean of their means would weigh a token of the few more."""
    weights, expected_loss, expected = ragged
    cut = [jnp.asarray(x).reshape(-1, micro_batches, x.shape[-1]).swapaxes(0, 1) for x in (tokens, weights)]
    (loss, weight), gradients = gradients_of(state.params, cut[0], TINY, PLAN, cut[1])
    assert float(loss) == pytest.approx(float(expected_loss), rel=1e-6)
    assert float(weight) == pytest.approx(weights.sum(), rel=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-7), gradients, expected)

    _, measured = step_of(micro_batches)(state, tokens, LR, weights)
    assert float(measured.loss) == pytest.approx(float(expected_loss), rel=1e-6)


@pytest.mark.parametrize("micro_batches", [1, 2])
@pytest.mark.parametrize("absent", ["no weight", "no id of the vocabulary"])
def test_a_batch_without_targets_is_no_step_with_a_loss_of_0(state, tokens, micro_batches, absent):
    weights = jnp.zeros((16, 8)) if absent == "no weight" else None
    tokens = tokens if absent == "no weight" else jnp.full_like(tokens, TINY.vocab_size)
    after, measured = step_of(micro_batches)(state, tokens, LR, weights)
    assert np.isnan(measured.loss)
    assert float(measured.weight) == 0
    assert int(measured.skipped) == 1
    jax.tree.map(np.testing.assert_array_equal, after.params, state.params)


def test_a_micro_batch_without_targets_changes_nothing_beside_others(state, tokens):
    weights = jnp.ones((16, 8)).at[1::2].set(0)  # the second of two micro-batches
    _, measured = step_of(2)(state, tokens, LR, weights)
    _, alone = step_of(1)(state, tokens[::2], LR)
    assert float(measured.loss) == pytest.approx(float(alone.loss), rel=1e-6)
    assert float(measured.grad_norm) == pytest.approx(float(alone.grad_norm), rel=1e-5)


LLAMA = llama(
    vocab_size=100, context_length=8, d_model=32, n_heads=8, n_kv_heads=4, n_layers=1, mlp_width=48, tied_head=False
)
SHORT = ((8, 1, 1), (1, 8, 1), (1, 1, 8), (2, 2, 2))  # each way to split alone, and all together
MESHES = [(TINY, mesh) for mesh in itertools.product((1, 2, 4, 8), repeat=3) if np.prod(mesh) == 8]
MESHES = forms(
    [*MESHES, (LLAMA, (2, 2, 2)), (LLAMA, (1, 2, 4))], [*((TINY, mesh) for mesh in SHORT), (LLAMA, (2, 2, 2))]
)


@pytest.fixture(scope="module")
def one_device(tokens):
    """A config → losses of twenty steps and the first gradients on a single device."""

    @lru_cache
    def of(config: DecoderConfig):
        optimizer = make_optimizer(OptimizerConfig(), decoder.dimension_letters(config))
        step = jax.jit(make_train_step(config, PLAN, optimizer, 2))
        state, losses = init_state(jax.random.key(0), config, optimizer), []
        _, gradients = jax.jit(partial(accumulate_gradients, config=config, plan=PLAN))(state.params, tokens[None])
        for _ in range(20):
            state, measured = step(state, tokens, LR)
            losses.append(float(measured.loss))
        return losses, gradients

    return of


@pytest.mark.parametrize(("config", "axes"), MESHES, ids=lambda x: "gpt2" if x is TINY else None)
def test_every_mesh_gives_the_single_device_losses_and_gradients(tokens, one_device, config, axes):
    mesh = sharding.make_mesh(*axes)
    sharding.check_divides(config, mesh)
    plan = decoder.make_plan(Execution(), sharding.Constrain(mesh))
    optimizer = make_optimizer(OptimizerConfig(), decoder.dimension_letters(config))
    places = state_shardings(mesh, config, optimizer)
    state = jax.device_put(init_state(jax.random.key(0), config, optimizer), places)
    placed = jax.device_put(tokens, sharding.named(mesh, "BT"))
    expected_losses, expected_gradients = one_device(config)

    _, gradients = jax.jit(partial(accumulate_gradients, config=config, plan=plan))(state.params, placed[None])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), gradients, expected_gradients)

    step = jax.jit(make_train_step(config, plan, optimizer, 2), out_shardings=(places, None), donate_argnums=0)
    losses = []
    for _ in range(20):
        state, measured = step(state, placed, LR)
        losses.append(float(measured.loss))
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    weight = state.params.blocks[0].mlp.up.weight
    assert weight.addressable_shards[0].data.size == weight.size // math.prod(axes[1:])


def test_a_mesh_that_splits_a_head_of_keys_is_refused():
    with pytest.raises(ValueError, match="tensor=8 must divide the model's n_kv_heads=4"):
        sharding.check_divides(LLAMA, sharding.make_mesh(1, 1, 8))


def test_optimizer_moments_live_where_their_parameters_do():
    mesh = sharding.make_mesh(1, 4, 2)
    for config in (OptimizerConfig(), OptimizerConfig(optimizer="muon")):
        places = state_shardings(mesh, TINY, make_optimizer(config, decoder.dimension_letters(TINY)))
        moments = [
            place
            for path, place in jax.tree_util.tree_leaves_with_path(places.optimizer)
            if "mlp.up.weight" in jax.tree_util.keystr(path)
        ]
        assert moments
        assert all(place == places.params.blocks[0].mlp.up.weight for place in moments)


def test_a_mesh_of_another_size_than_the_devices_is_refused():
    with pytest.raises(ValueError, match=r"data=2 × fsdp=2 × tensor=1 needs 4 devices, but JAX sees 8"):
        sharding.make_mesh(2, 2, 1)


@pytest.mark.parametrize("axes", [(0, 0, 1), (0, 1, 0), (-2, -4, 1), (-1, 1, 1), (1, 0, 8)], ids=str)
def test_a_mesh_with_an_axis_of_no_devices_is_refused(axes):
    with pytest.raises(ValueError, match=r"axes must be at least 1 \(data may be 0: the rest\); got data="):
        sharding.make_mesh(*axes)


def test_a_mesh_of_no_devices_at_all_is_refused():
    with pytest.raises(ValueError, match="at least one device; got an empty list"):
        sharding.make_mesh(0, 1, 1, devices=[])


def test_a_mesh_that_does_not_divide_the_model_is_refused():
    mesh = sharding.make_mesh(1, 1, 8)
    with pytest.raises(ValueError, match="tensor=8 must divide the model's n_heads=12"):
        sharding.check_divides(DecoderConfig(), mesh)
