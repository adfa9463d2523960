"""Looking inside a model changes nothing in it, and the gradients seen there are the true ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.config import DecoderConfig
from llm_jax.inspect import look, recorder
from llm_jax.models import decoder

CONFIG = DecoderConfig(vocab_size=17, context_length=8, d_model=8, n_heads=2, n_layers=2)
NAMES = ["embedding"] + [f"block {n}, after {part}" for n in (1, 2) for part in ("attention", "MLP")]


@pytest.fixture(scope="module")
def params():
    return decoder.init(jax.random.key(0), CONFIG)


@pytest.fixture(scope="module")
def tokens_BT():
    return jnp.asarray(np.random.default_rng(0).integers(0, 17, (2, 6)), jnp.int32)


def mean_loss(params, tokens_BT, plan, watch):
    hidden_BTD, _ = decoder.forward(params, tokens_BT[:, :-1], CONFIG, plan, watch=watch)
    logits_BTV = decoder.logits(params, hidden_BTD, CONFIG, plan)
    log_probabilities = jax.nn.log_softmax(logits_BTV)
    return -jnp.take_along_axis(log_probabilities, tokens_BT[:, 1:, None], axis=-1).mean()


def test_a_chain_has_the_gradients_that_the_chain_rule_gives():
    x = jnp.array([0.3, -1.2, 2.0])
    inside = look(lambda watch: (watch("tanh", jnp.tanh(watch("x", x))) ** 2).sum())
    np.testing.assert_allclose(inside.activations["tanh"], np.tanh(x), rtol=1e-6)
    np.testing.assert_allclose(inside.gradients["tanh"], 2 * np.tanh(x), rtol=1e-6)
    np.testing.assert_allclose(inside.gradients["x"], 2 * np.tanh(x) * (1 - np.tanh(x) ** 2), rtol=1e-5)
    assert float(inside.loss) == pytest.approx(float((np.tanh(x) ** 2).sum()), rel=1e-6)


def test_every_half_block_of_a_gpt_is_seen_in_order_and_nothing_changes(params, tokens_BT, plan):
    seen, watch = recorder()
    watched, _ = decoder.forward(params, tokens_BT, CONFIG, plan, watch=watch)
    plain, _ = decoder.forward(params, tokens_BT, CONFIG, plan)
    assert list(seen) == NAMES
    np.testing.assert_array_equal(watched, plain)


def test_a_gradient_is_what_a_small_change_of_the_activation_does_to_the_loss(params, tokens_BT, plan):
    inside = look(lambda watch: mean_loss(params, tokens_BT, plan, watch))
    assert list(inside.gradients) == NAMES
    change, epsilon = np.random.default_rng(1).normal(size=(2, 5, 8)).astype(np.float32), 1e-3
    for name in NAMES:

        def loss(step, name=name):
            return mean_loss(params, tokens_BT, plan, lambda n, x: x + step * change if n == name else x)

        measured = (loss(epsilon) - loss(-epsilon)) / (2 * epsilon)
        assert float((inside.gradients[name] * change).sum()) == pytest.approx(float(measured), rel=2e-2, abs=5e-4)


def test_what_comes_after_a_token_does_not_reach_its_activations(params, tokens_BT, plan):
    def loss(watch):
        return decoder.forward(params, tokens_BT, CONFIG, plan, watch=watch)[0][:, 2].sum()

    for name, gradient_BTD in look(loss).gradients.items():
        assert not np.asarray(gradient_BTD)[:, 3:].any(), name
