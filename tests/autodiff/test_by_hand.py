"""The gradients derived by hand, on random shapes, against finite differences, our autodiff, JAX and PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_jax.autodiff import by_hand, functions, grad, numerical_grad

sizes = st.integers(1, 4)
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=12, deadline=None, derandomize=True)


def check(found, f, in_torch, arrays, dy):
    """`found` are the gradients of Σ f(arrays)·dy by hand; f takes NumPy arrays or Tensors, in_torch torch's."""
    scalar = lambda *xs: np.sum(f(*xs) * dy)  # noqa: E731
    for gradient, measured in zip(found, numerical_grad(lambda xs: scalar(*xs), arrays), strict=True):
        np.testing.assert_allclose(gradient, measured, rtol=1e-5, atol=1e-7)
    for gradient, ours in zip(found, grad(scalar, tuple(range(len(arrays))))(*arrays), strict=True):
        np.testing.assert_allclose(gradient, ours, rtol=1e-9, atol=1e-11)
    leaves = [torch.tensor(x, requires_grad=True) for x in arrays]
    output = torch.sum(in_torch(*leaves) * torch.tensor(dy))
    for gradient, theirs in zip(found, torch.autograd.grad(output, leaves), strict=True):
        np.testing.assert_allclose(gradient, theirs, rtol=1e-9, atol=1e-11)


@few
@given(sizes, sizes, sizes, seeds)
def test_linear(batch, d, f, seed):
    rng = np.random.default_rng(seed)
    x, w, c = rng.normal(size=(batch, d)), rng.normal(size=(d, f)), rng.normal(size=f)
    dy = rng.normal(size=(batch, f))
    found = by_hand.linear_backward(dy, x, w)
    check(found, by_hand.linear, lambda x, w, c: x @ w + c, (x, w, c), dy)


@few
@given(sizes, sizes, seeds)
def test_tanh(batch, d, seed):
    rng = np.random.default_rng(seed)
    x, dy = rng.normal(size=(2, batch, d))
    check((by_hand.tanh_backward(dy, by_hand.tanh(x)),), np.tanh, torch.tanh, (x,), dy)


@few
@given(sizes, st.integers(2, 5), seeds)
def test_softmax_cross_entropy(batch, classes, seed):
    rng = np.random.default_rng(seed)
    logits, labels = 3.0 * rng.normal(size=(batch, classes)), rng.integers(classes, size=batch)

    def loss(logits):
        return -np.mean(functions.log_softmax(logits)[np.arange(batch), labels])

    value, p = by_hand.softmax_cross_entropy(logits, labels)
    assert value == pytest.approx(loss(logits))
    found = by_hand.softmax_cross_entropy_backward(p, labels)
    np.testing.assert_allclose(found.sum(axis=1), 0.0, atol=1e-15)
    in_torch = lambda z: torch.nn.functional.cross_entropy(z, torch.tensor(labels))  # noqa: E731
    check((found,), loss, in_torch, (logits,), np.array(1.0))


def test_softmax_cross_entropy_of_large_logits_stays_finite():
    logits = np.array([[1000.0, 0.0], [0.0, -1000.0]])
    loss, p = by_hand.softmax_cross_entropy(logits, np.array([1, 0]))
    assert loss == 500.0
    assert by_hand.softmax_cross_entropy_backward(p, np.array([1, 0])).tolist() == [[0.5, -0.5], [0.0, 0.0]]


def batch_norm(x, gain, bias):
    return (x - np.mean(x, axis=0)) / np.sqrt(np.var(x, axis=0) + 1e-5) * gain + bias


@few
@given(st.integers(3, 6), sizes, seeds)
def test_batch_norm(batch, d, seed):
    rng = np.random.default_rng(seed)
    x = np.arange(batch)[:, None] + 0.3 * rng.normal(size=(batch, d))  # columns without spread are badly conditioned
    dy, (gain, bias) = rng.normal(size=(batch, d)), rng.normal(size=(2, d))
    y, n, r = by_hand.batch_norm(x, gain, bias)
    np.testing.assert_allclose(y, batch_norm(x, gain, bias), rtol=1e-12, atol=1e-12)
    found = by_hand.batch_norm_backward(dy, n, r, gain)
    in_torch = lambda x, g, b: torch.nn.functional.batch_norm(x, None, None, g, b, training=True)  # noqa: E731
    check(found, batch_norm, in_torch, (x, gain, bias), dy)


@few
@given(sizes, st.integers(3, 6), seeds)
def test_layer_norm(batch, d, seed):
    rng = np.random.default_rng(seed)
    x = np.arange(d) + 0.3 * rng.normal(size=(batch, d))
    dy, (gain, bias) = rng.normal(size=(batch, d)), rng.normal(size=(2, d))
    y, n, r = by_hand.layer_norm(x, gain, bias)
    np.testing.assert_allclose(y, functions.layer_norm(x, gain, bias), rtol=1e-12, atol=1e-12)
    found = by_hand.layer_norm_backward(dy, n, r, gain)
    in_torch = lambda x, g, b: torch.nn.functional.layer_norm(x, (d,), g, b)  # noqa: E731
    check(found, functions.layer_norm, in_torch, (x, gain, bias), dy)


def attention(q, k, v, mask):
    """For our autodiff: heads in front, matmul over the last two axes."""
    q, k, v = (np.swapaxes(x, 1, 2) for x in (q, k, v))
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
    return np.swapaxes(functions.softmax(np.where(mask[:, None], scores, -1e300)) @ v, 1, 2)


def attention_in_torch(q, k, v, mask):
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    mask = torch.tensor(mask)[:, None]
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)


@few
@given(st.tuples(sizes, sizes, sizes, sizes, sizes), seeds)
def test_attention(shape, seed):
    B, T, S, N, H = shape
    rng = np.random.default_rng(seed)
    q, do = rng.normal(size=(2, B, T, N, H))
    k, v = rng.normal(size=(2, B, S, N, H))
    mask = rng.random((B, T, S)) < 0.6
    mask[..., 0] = True
    o, a = by_hand.attention(q, k, v, mask)
    np.testing.assert_allclose(o, attention(q, k, v, mask), rtol=1e-10, atol=1e-12)
    assert (a[~np.broadcast_to(mask[:, None], a.shape)] == 0.0).all()
    found = by_hand.attention_backward(do, q, k, v, a)
    check(
        found,
        lambda q, k, v: attention(q, k, v, mask),
        lambda q, k, v: attention_in_torch(q, k, v, mask),
        (q, k, v),
        do,
    )


def test_every_rule_agrees_with_jax(rng):
    """One shape is enough here: the shapes are varied above."""
    x, dy = rng.normal(size=(2, 5, 4))
    w, c, gain, bias = rng.normal(size=(4, 4)), *rng.normal(size=(3, 4))
    q, k, v, do = rng.normal(size=(4, 2, 3, 2, 4))
    mask, labels = np.tril(np.ones((2, 3, 3), bool)), np.array([0, 3, 1, 1, 2])

    def normalise(x, axis):
        return (x - x.mean(axis, keepdims=True)) / jnp.sqrt(x.var(axis, keepdims=True) + 1e-5)

    def jax_attention(q, k, v):
        scores = jnp.einsum("BTNH,BSNH->BNTS", q, k) / jnp.sqrt(q.shape[-1])
        return jnp.einsum("BNTS,BSNH->BTNH", jax.nn.softmax(scores, where=mask[:, None], axis=-1), v)

    def cross_entropy(z):
        return -jax.nn.log_softmax(z)[jnp.arange(5), labels].mean()

    _, p = by_hand.softmax_cross_entropy(x, labels)
    cases = [
        (by_hand.linear_backward(dy, x, w), lambda x, w, c: x @ w + c, (x, w, c), dy),
        ((by_hand.tanh_backward(dy, np.tanh(x)),), jnp.tanh, (x,), dy),
        ((by_hand.softmax_cross_entropy_backward(p, labels),), cross_entropy, (x,), 1.0),
        (
            by_hand.batch_norm_backward(dy, *by_hand.batch_norm(x, gain, bias)[1:], gain),
            lambda x, g, b: normalise(x, 0) * g + b,
            (x, gain, bias),
            dy,
        ),
        (
            by_hand.layer_norm_backward(dy, *by_hand.layer_norm(x, gain, bias)[1:], gain),
            lambda x, g, b: normalise(x, -1) * g + b,
            (x, gain, bias),
            dy,
        ),
        (by_hand.attention_backward(do, q, k, v, by_hand.attention(q, k, v, mask)[1]), jax_attention, (q, k, v), do),
    ]
    with jax.enable_x64(True):
        for found, f, arrays, cotangent in cases:
            weighted = jax.jit(jax.grad(lambda *xs: jnp.sum(f(*xs) * cotangent), tuple(range(len(arrays)))))  # noqa: B023
            for gradient, theirs in zip(found, weighted(*arrays), strict=True):
                np.testing.assert_allclose(gradient, theirs, rtol=1e-9, atol=1e-11)


def test_a_query_that_sees_nothing_is_refused():
    x = np.ones((1, 2, 1, 3))
    mask = np.array([[[True, False], [False, False]]])
    with pytest.raises(ValueError, match="the mask of example 0 shows none to query 1"):
        by_hand.attention(x, x, x, mask)


@few
@given(sizes, sizes, sizes, seeds)
def test_embedding(batch, rows, d, seed):
    rng = np.random.default_rng(seed)
    table, ids, dy = rng.normal(size=(rows, d)), rng.integers(rows, size=(batch, 3)), rng.normal(size=(batch, 3, d))
    found = by_hand.embedding_backward(dy, ids, rows)
    check((found,), lambda table: table[ids], lambda table: table[torch.tensor(ids)], (table,), dy)


def test_a_row_looked_up_twice_gets_both_gradients():
    dy = np.array([[[1.0], [10.0]], [[100.0], [1000.0]]])
    assert by_hand.embedding_backward(dy, np.array([[0, 2], [0, 0]]), 3).tolist() == [[1101.0], [0.0], [10.0]]
