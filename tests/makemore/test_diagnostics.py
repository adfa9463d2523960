"""What is seen inside a network."""

import jax
import numpy as np
import pytest

from llm_jax.models.makemore import mlp, wavenet
from train.first_principles.makemore import diagnostics, models
from train.first_principles.makemore.dataset.examples import Examples
from train.first_principles.makemore.diagnostics import dead_units, look, saturation, squashed


def batch_of(model, data) -> Examples:
    return Examples(*(array[:32] for array in model.examples(data.splits["train"])))


def test_gradients_of_activations_are_those_of_the_formula(data):
    """∂loss/∂h = (softmax − onehot)/B · Uᵀ for the last hidden layer."""
    model = models.build(mlp.Config(data.vocab_size, initialisation="original"), data.longest)
    params, batch = model.init(jax.random.key(0)), batch_of(model, data)
    inside = look(model, params, batch)
    probabilities = np.asarray(jax.nn.softmax(model.logits(params, jax.numpy.asarray(batch.inputs))))
    wrong = probabilities - np.eye(data.vocab_size)[batch.targets]
    expected = wrong @ np.asarray(params.out.weight).T / len(batch.targets)
    np.testing.assert_allclose(inside.gradients["tanh 1"], expected, atol=1e-6)
    assert np.abs(expected).max() > 1e-3


def test_every_layer_is_seen(data):
    model = models.build(wavenet.Config(data.vocab_size, context=8), data.longest)
    inside = look(model, model.init(jax.random.key(0)), batch_of(model, data))
    assert list(inside.activations) == list(inside.gradients) == ["tanh 1", "tanh 2", "tanh 3"]
    assert {name: a.shape for name, a in inside.activations.items()} == {
        "tanh 1": (32, 4, 128),
        "tanh 2": (32, 2, 128),
        "tanh 3": (32, 1, 128),
    }


def test_a_unit_is_dead_when_every_example_saturates_it():
    activation = np.array([[0.995, 0.995, 0.0, -0.999], [-0.995, 0.5, 0.0, -0.999]])
    assert dead_units(activation) == 2
    assert saturation(activation) == pytest.approx(5 / 8)


def test_the_original_initialisation_saturates_and_kaiming_does_not(data):
    shares = {}
    for initialisation in ("original", "kaiming"):
        config = mlp.Config(data.vocab_size, initialisation=initialisation)
        model = models.build(config, data.longest)
        inside = look(model, model.init(jax.random.key(0)), batch_of(model, data))
        shares[initialisation] = saturation(squashed(inside)["tanh 1"])
    assert shares["original"] > 0.5
    assert shares["kaiming"] < 0.25


def test_padding_is_not_looked_at(data):
    model = models.build(models.recurrent.Config(data.vocab_size), data.longest)
    batch = batch_of(model, data)
    inside = look(model, model.init(jax.random.key(0)), batch)
    assert inside.activations["state"].shape == (batch.predictions, 128)
    assert diagnostics.squashed(inside)
