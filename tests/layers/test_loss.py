"""Chunked cross-entropy against the plain formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.layers.loss import cross_entropy, tied_logits, token_losses

B, T, D, V, VOCABULARY = 3, 8, 16, 128, 100


@pytest.fixture(scope="module")
def inputs():
    keys = jax.random.split(jax.random.key(0), 4)
    hidden = jax.random.normal(keys[0], (B, T, D))
    embedding = jax.random.normal(keys[1], (V, D))
    targets = jax.random.randint(keys[2], (B, T), 0, VOCABULARY)
    weights = jax.random.uniform(keys[3], (B, T))
    return hidden, embedding, targets, weights


def plain(hidden, embedding, targets, weights):
    """Float64 NumPy, written from the definition."""
    hidden, embedding, weights = (np.asarray(x, np.float64) for x in (hidden, embedding, weights))
    logits = hidden @ embedding[:VOCABULARY].T
    losses = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, np.asarray(targets)[..., None], -1)[..., 0]
    return (losses * weights).sum() / weights.sum()


@pytest.mark.parametrize("n_chunks", [1, 2, 8])
def test_chunked_loss_equals_plain_formula(inputs, n_chunks):
    hidden, embedding, targets, weights = inputs
    loss = cross_entropy(hidden, embedding, targets, weights, VOCABULARY, n_chunks)
    assert float(loss) == pytest.approx(plain(*inputs), rel=1e-6)


@pytest.mark.parametrize("n_chunks", [1, 2, 8])
def test_chunked_gradients_equal_those_of_the_plain_formula(inputs, n_chunks):
    hidden, embedding, targets, weights = inputs

    def plain_jax(hidden, embedding):
        return (token_losses(hidden, embedding, targets, VOCABULARY) * weights).sum() / weights.sum()

    expected = jax.grad(plain_jax, argnums=(0, 1))(hidden, embedding)
    found = jax.grad(cross_entropy, argnums=(0, 1))(hidden, embedding, targets, weights, VOCABULARY, n_chunks)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_backward_pass_multiplies_by_the_incoming_derivative(inputs):
    hidden, embedding, targets, weights = inputs

    def scaled(factor):
        return jax.grad(lambda h: factor * cross_entropy(h, embedding, targets, weights, VOCABULARY, 2))(hidden)

    np.testing.assert_allclose(scaled(3.0), 3.0 * scaled(1.0), rtol=1e-6)


def test_no_array_holds_the_logits_of_the_whole_batch(inputs):
    hidden, embedding, targets, weights = inputs
    n_chunks = 4

    def value_and_grad(hidden, embedding):
        return jax.value_and_grad(cross_entropy, argnums=(0, 1))(
            hidden, embedding, targets, weights, VOCABULARY, n_chunks
        )

    sizes = [
        variable.aval.size
        for jaxpr in _all_jaxprs(jax.make_jaxpr(value_and_grad)(hidden, embedding).jaxpr)
        for equation in jaxpr.eqns
        for variable in equation.outvars
    ]
    assert max(sizes) <= max(B * T * V // n_chunks, V * D, B * T * D)


def test_padding_of_the_vocabulary_has_no_probability_and_no_gradient(inputs):
    hidden, embedding, targets, weights = inputs
    logits = tied_logits(hidden, embedding, VOCABULARY)
    assert (jax.nn.softmax(logits)[..., VOCABULARY:] == 0).all()
    gradient = jax.grad(cross_entropy, argnums=1)(hidden, embedding, targets, weights, VOCABULARY, 2)
    assert (gradient[VOCABULARY:] == 0).all()
    assert (gradient[:VOCABULARY] != 0).all()


def test_bfloat16_logits_are_reduced_in_float32(inputs):
    hidden, embedding, targets, weights = inputs
    low = hidden.astype(jnp.bfloat16)
    loss = cross_entropy(low, embedding, targets, weights, VOCABULARY, 2)
    rounded = (low.astype(jnp.float32), embedding.astype(jnp.bfloat16).astype(jnp.float32))
    assert loss.dtype == jnp.float32
    assert float(loss) == pytest.approx(plain(*rounded, targets, weights), rel=1e-5)


def test_chunks_that_do_not_divide_the_sequence_are_refused(inputs):
    hidden, embedding, targets, weights = inputs
    with pytest.raises(ValueError, match="T=8, n_chunks=3"):
        cross_entropy(hidden, embedding, targets, weights, VOCABULARY, 3)


def _all_jaxprs(jaxpr):
    yield jaxpr
    for equation in jaxpr.eqns:
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from _all_jaxprs(inner)


@pytest.mark.parametrize("mark", [-1, -100, VOCABULARY, V - 1, 10_000])
def test_targets_outside_the_vocabulary_are_left_out(inputs, mark):
    hidden, embedding, targets, _ = inputs
    absent = jnp.zeros((B, T), bool).at[0, 3:].set(True).at[2, 0].set(True)
    lose = jax.value_and_grad(cross_entropy, argnums=(0, 1))
    found = lose(hidden, embedding, jnp.where(absent, mark, targets), jnp.ones((B, T)), VOCABULARY, 2)
    expected = lose(hidden, embedding, targets, 1.0 - absent, VOCABULARY, 2)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert not np.asarray(found[1][0])[np.asarray(absent)].any()


def test_without_any_target_the_loss_and_its_gradients_are_0(inputs):
    hidden, embedding, targets, _ = inputs
    for given, weights in ((jnp.full((B, T), -100), jnp.ones((B, T))), (targets, jnp.zeros((B, T)))):
        loss, gradients = jax.value_and_grad(cross_entropy, argnums=(0, 1))(
            hidden, embedding, given, weights, VOCABULARY, 2
        )
        assert loss == 0
        assert not any(np.asarray(gradient).any() for gradient in gradients)


@pytest.mark.parametrize("dtypes", [(jnp.bfloat16, jnp.bfloat16), (jnp.float32, jnp.bfloat16)], ids=str)
def test_gradients_have_the_format_of_what_they_belong_to(inputs, dtypes):
    hidden, embedding, targets, weights = inputs
    hidden, embedding = hidden.astype(dtypes[0]), embedding.astype(dtypes[1])
    found = jax.grad(cross_entropy, argnums=(0, 1))(hidden, embedding, targets, weights, VOCABULARY, 2)
    assert tuple(gradient.dtype for gradient in found) == dtypes
