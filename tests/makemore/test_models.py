"""Makemore's networks: sizes, beginnings, what may influence what, and PyTorch's opinion."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from llm_jax.models.makemore import lookup, mlp, recurrent, wavenet
from train.first_principles.makemore import models
from train.first_principles.makemore.recipes import RECIPES

V = 27
KEY = jax.random.key(0)
TOKENS = jnp.asarray(np.random.default_rng(0).integers(0, V, (6, 8)), jnp.int32)


def count(params) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize(
    ("module", "config", "parameters"),
    [
        (lookup, lookup.Config(V), 729),
        (mlp, mlp.Config(V), 11_897),  # second makemore lecture
        (mlp, mlp.Config(V, batch_norm=True), 12_297),  # fourth
        (wavenet, wavenet.Config(V), 76_579),  # fifth
    ],
)
def test_sizes_are_those_of_the_lectures(module, config, parameters):
    assert count(module.init(KEY, config)) == parameters


@pytest.mark.parametrize("name", RECIPES)
def test_every_model_begins_by_guessing(name):
    """ln V before the first step, but for the Transformer's small random logits."""
    model = models.build(RECIPES[name].config(V, 7), 7)
    logits = jax.jit(model.logits)(jax.jit(model.init)(KEY), TOKENS[:, : model.length])
    assert logits.shape == ((6, V) if model.reads == "windows" else (6, model.length, V))
    loss = -jax.nn.log_softmax(logits).mean()
    assert float(loss) == pytest.approx(math.log(V), abs=0.05)


@pytest.mark.parametrize("name", RECIPES)
def test_letters_name_every_dimension_of_every_parameter(name):
    model = models.build(RECIPES[name].config(V, 7), 7)
    params = model.init(KEY)
    jax.tree.map(lambda leaf, letters: np.testing.assert_equal(leaf.ndim, len(letters)), params, model.letters(params))


def test_the_original_initialisation_is_confidently_wrong():
    config = mlp.Config(V, initialisation="original")
    logits = mlp.logits(mlp.init(KEY, config), TOKENS[:, :3])
    assert -jax.nn.log_softmax(logits).mean() > 10


@pytest.mark.parametrize("gated", [False, True])
def test_a_recurrent_network_does_not_see_the_future(gated):
    params = recurrent.init(KEY, recurrent.Config(V, gated=gated))
    params = dataclasses.replace(params, out=dataclasses.replace(params.out, weight=jax.random.normal(KEY, (128, V))))
    other = np.array(TOKENS)
    other[:, 5] = (other[:, 5] + 1) % V
    before, after = recurrent.logits(params, TOKENS), recurrent.logits(params, jnp.asarray(other))
    np.testing.assert_array_equal(before[:, :5], after[:, :5])
    assert (np.abs(before[:, 5:] - after[:, 5:]).max(axis=(0, 2)) > 1e-4).all()


def test_wavenet_fuses_neighbours_and_nothing_else():
    """After the first layer, position t has seen the characters 2t and 2t + 1."""
    params = wavenet.init(KEY, wavenet.Config(V))
    seen = {}

    def watch(name, activation):
        seen[name] = activation
        return activation

    def first_layer(tokens):
        fixed = wavenet.calibrate(params, TOKENS)  # else batch norm would mix the examples
        wavenet.logits(fixed, tokens, watch)
        return seen["tanh 1"]

    other = np.array(TOKENS)
    other[0, 5] = (other[0, 5] + 1) % V
    changed = np.abs(first_layer(TOKENS) - first_layer(jnp.asarray(other))).max(axis=-1) > 0
    assert changed.tolist() == [[False, False, True, False], *[[False] * 4] * 5]


@pytest.mark.parametrize(("module", "config"), [(mlp, mlp.Config(V, batch_norm=True)), (wavenet, wavenet.Config(V))])
def test_calibrated_predictions_do_not_depend_on_the_batch(module, config):
    tokens = TOKENS[:, : config.context]
    params = module.init(KEY, config)
    params = dataclasses.replace(params, out=dataclasses.replace(params.out, weight=jnp.ones((config.width, V))))
    logits, fixed = jax.jit(module.logits), jax.jit(module.calibrate)(params, tokens)
    np.testing.assert_allclose(logits(fixed, tokens), logits(params, tokens), atol=2e-4)
    np.testing.assert_allclose(logits(fixed, tokens)[:1], logits(fixed, tokens[:1]), atol=2e-4)
    assert np.abs(logits(params, tokens)[:2] - logits(params, tokens[:2])).max() > 0.1


def test_an_odd_window_is_refused():
    with pytest.raises(ValueError, match=r"context must be 2, 4, 8, …; got 6"):
        wavenet.Config(V, context=6)


def in_torch(x) -> torch.Tensor:
    return torch.tensor(np.asarray(x))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_mlp_equals_torch(batch_norm):
    params = mlp.init(KEY, mlp.Config(V, batch_norm=batch_norm, initialisation="original"))
    x = torch.nn.functional.embedding(in_torch(TOKENS[:, :3]).long(), in_torch(params.embedding)).flatten(1)
    hidden = x @ in_torch(params.hidden.weight).reshape(30, 200) + in_torch(params.hidden.bias)
    if batch_norm:
        hidden = torch.nn.BatchNorm1d(200).train()(hidden)
    expected = torch.tanh(hidden) @ in_torch(params.out.weight) + in_torch(params.out.bias)
    np.testing.assert_allclose(mlp.logits(params, TOKENS[:, :3]), expected.detach(), rtol=1e-4, atol=2e-4)


def test_simple_recurrent_network_equals_torch():
    params = recurrent.init(KEY, recurrent.Config(V, embedding=5, width=7))
    theirs = torch.nn.RNN(5, 7, batch_first=True)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(in_torch(params.inputs.weight)[:, 0].T)
        theirs.weight_hh_l0.copy_(in_torch(params.candidate).T)
        theirs.bias_ih_l0.zero_()
        theirs.bias_hh_l0.zero_()
        states, _ = theirs(in_torch(params.embedding)[in_torch(TOKENS).long()])
        expected = states @ in_torch(params.out.weight)
    np.testing.assert_allclose(recurrent.logits(params, TOKENS), expected, atol=1e-5)


def test_gated_unit_equals_its_formulas():
    """PyTorch's GRU applies the reset gate after the product, so the formulas stand here once more, in NumPy."""
    params = recurrent.init(KEY, recurrent.Config(V, embedding=5, width=7, gated=True))
    w, u, n = (np.asarray(x, np.float64) for x in (params.inputs.weight, params.gates, params.candidate))
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    h = np.zeros((6, 7))
    for t in range(8):
        x = np.asarray(params.embedding, np.float64)[TOKENS[:, t]]
        r, z = sigmoid(x @ w[:, 0] + h @ u[:, 0]), sigmoid(x @ w[:, 1] + h @ u[:, 1])
        h = z * h + (1 - z) * np.tanh(x @ w[:, 2] + (r * h) @ n)
    expected = h @ np.asarray(params.out.weight)
    np.testing.assert_allclose(recurrent.logits(params, TOKENS)[:, -1], expected, atol=1e-6)
