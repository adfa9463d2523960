"""Cross-entropy, formula and kernels, against NumPy: a sum and a weight; slices, padding, targets left out."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.kernels.loss import cross_entropy_on_cpu, cross_entropy_on_gpu
from llm_jax.layers.loss import cross_entropy, logits_of, smoothed_cross_entropy, token_losses

B, T, D, V, VOCABULARY = 3, 8, 16, 128, 100


@pytest.fixture(params=[cross_entropy, cross_entropy_on_cpu, cross_entropy_on_gpu], ids=lambda f: f.__name__)
def mean_loss(request):
    """Σ weight·loss / Σ weight by the formula and by every kernel."""

    @partial(jax.jit, static_argnums=(4, 5))
    def mean(*arguments):
        total, weight = request.param(*arguments)
        return total / weight

    return mean


@pytest.fixture(params=[cross_entropy_on_cpu, cross_entropy_on_gpu], ids=lambda f: f.__name__)
def kernel(request):
    return request.param


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
def test_loss_equals_plain_formula_in_any_number_of_slices(inputs, mean_loss, n_chunks):
    hidden, embedding, targets, weights = inputs
    loss = mean_loss(hidden, embedding, targets, weights, VOCABULARY, n_chunks)
    assert float(loss) == pytest.approx(plain(*inputs), rel=1e-6)


@pytest.mark.parametrize("n_chunks", [1, 2, 8])
def test_gradients_equal_those_of_the_plain_formula(inputs, mean_loss, n_chunks):
    hidden, embedding, targets, weights = inputs

    def plain_jax(hidden, embedding):
        return (token_losses(hidden, embedding, targets, VOCABULARY) * weights).sum() / weights.sum()

    expected = jax.grad(plain_jax, argnums=(0, 1))(hidden, embedding)
    found = jax.grad(mean_loss, argnums=(0, 1))(hidden, embedding, targets, weights, VOCABULARY, n_chunks)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_backward_pass_multiplies_by_the_incoming_derivative(inputs, mean_loss):
    hidden, embedding, targets, weights = inputs

    def scaled(factor):
        return jax.grad(lambda h: factor * mean_loss(h, embedding, targets, weights, VOCABULARY, 2))(hidden)

    # A power of two is multiplied without rounding, so both sides are equal but for the order of sums.
    np.testing.assert_allclose(scaled(4.0), 4.0 * scaled(1.0), rtol=1e-6)


def test_no_array_of_a_kernel_holds_the_logits_of_the_whole_batch(inputs, kernel):
    hidden, embedding, targets, weights = inputs
    n_chunks = 4

    def total(hidden, embedding):
        return kernel(hidden, embedding, targets, weights, VOCABULARY, n_chunks)[0]

    def value_and_grad(hidden, embedding):
        return jax.value_and_grad(total, argnums=(0, 1))(hidden, embedding)

    sizes = [
        variable.aval.size
        for jaxpr in _all_jaxprs(jax.make_jaxpr(value_and_grad)(hidden, embedding).jaxpr)
        for equation in jaxpr.eqns
        for variable in equation.outvars
    ]
    assert max(sizes) <= max(B * T * V // n_chunks, V * D, B * T * D)


def test_padding_of_the_vocabulary_has_no_probability_and_no_gradient(inputs, mean_loss):
    hidden, embedding, targets, weights = inputs
    logits = logits_of(hidden, embedding, VOCABULARY)
    assert (jax.nn.softmax(logits)[..., VOCABULARY:] == 0).all()
    gradient = jax.grad(mean_loss, argnums=1)(hidden, embedding, targets, weights, VOCABULARY, 2)
    assert (gradient[VOCABULARY:] == 0).all()
    assert (gradient[:VOCABULARY] != 0).all()


def test_bfloat16_logits_are_reduced_in_float32(inputs, mean_loss):
    hidden, embedding, targets, weights = inputs
    low = hidden.astype(jnp.bfloat16)
    loss = mean_loss(low, embedding, targets, weights, VOCABULARY, 2)
    rounded = (low.astype(jnp.float32), embedding.astype(jnp.bfloat16).astype(jnp.float32))
    assert loss.dtype == jnp.float32
    assert float(loss) == pytest.approx(plain(*rounded, targets, weights), rel=1e-5)


def test_chunks_that_do_not_divide_the_sequence_are_refused(inputs, kernel):
    hidden, embedding, targets, weights = inputs
    with pytest.raises(ValueError, match="T=8, n_chunks=3"):
        kernel(hidden, embedding, targets, weights, VOCABULARY, 3)


def _all_jaxprs(jaxpr):
    yield jaxpr
    for equation in jaxpr.eqns:
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from _all_jaxprs(inner)


@pytest.mark.parametrize("mark", [-1, -100, VOCABULARY, V - 1, 10_000])
def test_targets_outside_the_vocabulary_are_left_out(inputs, mean_loss, mark):
    hidden, embedding, targets, _ = inputs
    absent = jnp.zeros((B, T), bool).at[0, 3:].set(True).at[2, 0].set(True)
    lose = jax.value_and_grad(mean_loss, argnums=(0, 1))
    found = lose(hidden, embedding, jnp.where(absent, mark, targets), jnp.ones((B, T)), VOCABULARY, 2)
    expected = lose(hidden, embedding, jnp.where(absent, 0, targets), 1.0 - absent, VOCABULARY, 2)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert not np.asarray(found[1][0])[np.asarray(absent)].any()


@pytest.mark.parametrize("entropy", [cross_entropy, cross_entropy_on_cpu, cross_entropy_on_gpu])
def test_without_any_target_the_weight_is_0_and_the_mean_no_number(inputs, entropy):
    """So nobody takes it for a model that makes no mistake."""
    hidden, embedding, targets, _ = inputs
    for given, weights in ((jnp.full((B, T), -100), jnp.ones((B, T))), (targets, jnp.zeros((B, T)))):
        total, weight = entropy(hidden, embedding, given, weights, VOCABULARY, 2)
        assert (float(total), float(weight)) == (0.0, 0.0)
        assert jnp.isnan(total / weight)


def test_losses_and_weights_of_parts_add_up_to_those_of_the_whole(inputs):
    hidden, embedding, targets, weights = inputs
    whole = cross_entropy(hidden, embedding, targets, weights, VOCABULARY)
    parts = [
        cross_entropy(h[None], embedding, t[None], w[None], VOCABULARY)
        for h, t, w in zip(hidden, targets, weights, strict=True)
    ]
    np.testing.assert_allclose(np.sum(parts, axis=0), whole, rtol=1e-6)


@pytest.mark.parametrize("dtypes", [(jnp.bfloat16, jnp.bfloat16), (jnp.float32, jnp.bfloat16)], ids=str)
def test_gradients_have_the_format_of_what_they_belong_to(inputs, mean_loss, dtypes):
    hidden, embedding, targets, weights = inputs
    hidden, embedding = hidden.astype(dtypes[0]), embedding.astype(dtypes[1])
    found = jax.grad(mean_loss, argnums=(0, 1))(hidden, embedding, targets, weights, VOCABULARY, 2)
    assert tuple(gradient.dtype for gradient in found) == dtypes


def test_smoothed_labels_cost_least_where_the_model_gives_exactly_those():
    """The minimum is the entropy of (1 − ε)·δ + ε/V, at those probabilities; a surer model pays more."""
    vocabulary, smoothing = 5, 0.1
    q = np.full(vocabulary, smoothing / vocabulary)
    q[3] += 1 - smoothing
    head, targets, weights = jnp.eye(vocabulary), jnp.array([[3]]), jnp.ones((1, 1))

    def loss(logits):
        total, weight = smoothed_cross_entropy(logits[None, None], head, targets, weights, vocabulary, smoothing)
        return total / weight

    at_best, gradient = jax.jit(jax.value_and_grad(loss))(jnp.log(jnp.array(q, jnp.float32)))
    assert at_best == pytest.approx(-(q * np.log(q)).sum(), rel=1e-5)
    assert np.abs(gradient).max() < 1e-6
    assert loss(jnp.log(jnp.array(q, jnp.float32)).at[3].add(2.0)) > at_best + 0.05
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\); got 1.0"):
        smoothed_cross_entropy(jnp.ones((1, 1, 5)), head, targets, weights, vocabulary, 1.0)
