"""Log-probabilities of tokens are those of the log-softmax, in every shape."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.decode import log_probabilities


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_log_probabilities_are_those_of_the_log_softmax(shape, shift):
    draw = np.random.default_rng(0)
    logits_V = jnp.asarray(draw.normal(size=(*shape, 7)) * 4 + shift, jnp.float32)
    token = jnp.asarray(draw.integers(7, size=shape))
    expected_V = np.asarray(jax.nn.log_softmax(logits_V))
    chosen = np.take_along_axis(expected_V, np.asarray(token)[..., None], -1)[..., 0]
    np.testing.assert_allclose(log_probabilities.of_tokens(logits_V, token), chosen, atol=2e-3 if shift else 1e-5)
    ordered_V = -np.sort(-expected_V)
    top_K, ids_K = log_probabilities.most_likely(logits_V, 3)
    np.testing.assert_allclose(top_K, ordered_V[..., :3], atol=2e-3 if shift else 1e-5)
    np.testing.assert_array_equal(ids_K, np.argsort(-expected_V)[..., :3])
    best, margin = log_probabilities.best_and_margin(logits_V)
    np.testing.assert_array_equal(best, expected_V.argmax(-1))
    np.testing.assert_allclose(margin, ordered_V[..., 0] - ordered_V[..., 1], atol=2e-3 if shift else 1e-5)


def test_no_most_likely_tokens_is_an_empty_answer_and_a_tie_has_no_margin():
    assert log_probabilities.most_likely(jnp.zeros((2, 5)), 0)[0].shape == (2, 0)
    best, margin = log_probabilities.best_and_margin(jnp.array([[1.0, 3.0, 3.0]]))
    assert (int(best[0]), float(margin[0])) == (1, 0.0)
