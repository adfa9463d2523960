"""micrograd's two-moons demonstration: both engines follow the losses its notebook prints.

Source: github.com/karpathy/micrograd, demo.ipynb (commit c911406), output of the training cell.
"""

import numpy as np
import pytest

from llm_jax.autodiff import backward, grad, value_and_grad, weighted_sum
from train.first_principles import moons

PUBLISHED = {
    0: 0.8958441028683222,
    1: 1.7235905336972022,
    2: 0.7429006313851131,
    10: 0.24507023853658053,
    50: 0.09875114765619622,
    98: 0.010978888332907229,
    99: 0.010978370135492717,
}


def test_array_engine_follows_the_published_losses_to_100_percent_accuracy():
    points, labels = moons.two_moons()
    parameters = moons.as_arrays(moons.initial_weights())
    losses = []
    for step in range(moons.STEPS):
        loss, gradients = value_and_grad(moons.array_loss)(parameters, points, labels)
        losses.append(loss)
        parameters = moons.descend(parameters, gradients, moons.learning_rate(step))
    assert [losses[step] for step in PUBLISHED] == pytest.approx(list(PUBLISHED.values()), rel=1e-6)
    assert (np.sign(moons.array_scores(parameters, points)) == labels).all()


@pytest.mark.parametrize("sum_up", [moons.one_node_each, weighted_sum])
def test_scalar_engine_follows_the_published_losses(sum_up):
    points, labels = moons.two_moons()
    network = moons.ScalarNetwork(moons.initial_weights(), sum_up)
    assert len(network.parameters()) == 337
    for step in range(3):
        loss = network.loss(points, labels)
        assert loss.value == pytest.approx(PUBLISHED[step], rel=1e-13)
        network.descend(backward(loss), moons.learning_rate(step))


def test_both_engines_find_the_same_gradient():
    points, labels = moons.two_moons(count=10)
    network = moons.ScalarNetwork(moons.initial_weights())
    found = backward(network.loss(points, labels))
    by_arrays = grad(moons.array_loss)(moons.as_arrays(moons.initial_weights()), points, labels)
    for layer, (dw, db) in zip(network.layers, by_arrays, strict=True):
        by_scalars = np.array([[found[w] for w in neuron] for neuron in layer]).T
        np.testing.assert_allclose(np.vstack([dw, db]), by_scalars, rtol=1e-10, atol=1e-14)
