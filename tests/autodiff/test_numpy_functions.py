"""NumPy's functions on a Tensor: value, first and second derivative, in both modes, and NumPy's forms of arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llm_jax.autodiff import Tensor, grad, hvp, jvp, numerical_grad

FUNCTIONS = {
    "dot of matrices": lambda xp, x: xp.dot(x, x.T),
    "dot with a vector": lambda xp, x: xp.dot(x, x[0]),
    "dot of stacks": lambda xp, x: xp.dot(xp.stack([x, x * x]), xp.stack([x.T, 2 * x.T, x.T])),
    "dot with a number": lambda xp, x: xp.dot(x[0, 0], x),
    "einsum, a product": lambda xp, x: xp.einsum("ij,kj->ik", x, x),
    "einsum, the order of letters": lambda xp, x: xp.einsum("ji", x * x),
    "einsum, three operands": lambda xp, x: xp.einsum("ij,kj,kl->il", x, x, x),
    "einsum, a diagonal": lambda xp, x: xp.einsum("ii->i", x @ x.T),
    "einsum, a trace and a sum": lambda xp, x: xp.einsum("ii,jk->k", x @ x.T, x),
    "einsum, an ellipsis": lambda xp, x: xp.einsum("...j,...j->...", x, xp.exp(x)[None]),
    "einsum, lists of axes": lambda xp, x: xp.einsum(x, [0, 1], x, [2, 1], [2, 0]),
    "einsum, optimized": lambda xp, x: xp.einsum("ij,kj,k->i", x, x, x[:, 0], optimize=True),
    "prod of all": lambda xp, x: xp.prod(x),
    "prod of rows": lambda xp, x: xp.prod(x, axis=1) * x[:, 0],
    "prod of columns": lambda xp, x: xp.prod(x, axis=(0,), keepdims=True) * x,
    "clip": lambda xp, x: xp.clip(x, -0.5, 0.5) * x,
    "clip from one side": lambda xp, x: xp.clip(x, None, x[0, 0] + 0.15) ** 2,
    "cumsum of all": lambda xp, x: xp.cumsum(x * x),
    "cumsum of rows": lambda xp, x: xp.cumsum(xp.exp(x), axis=-1),
    "split": lambda xp, x: xp.split(x * x, 3, axis=1)[1] * xp.split(x, [1, 2], axis=-1)[2],
    "take_along_axis": lambda xp, x: xp.take_along_axis(x * x, np.array([[2, 0, 2], [1, 1, 0]]), axis=1),
    "take_along_axis of all": lambda xp, x: xp.take_along_axis(x * x, np.array([5, 0, 5]), axis=None),
    "log1p": lambda xp, x: xp.log1p(xp.square(x)),
    "expm1": lambda xp, x: xp.expm1(x) * +x,
    "std": lambda xp, x: xp.std(x, axis=1, ddof=1),
    "methods": lambda xp, x: (x * x)[None].squeeze().ravel().dot(x.flatten()) * x.transpose(1, 0).clip(-2, 2).prod(0),
    "astype": lambda xp, x: (x * x).astype("float64") ** 2,
}
STARTS = {
    "anywhere": np.array([[0.3, -1.2, 0.8], [1.1, 0.4, -0.7]]),
    "zeros": np.array([[0.0, -1.2, 0.0], [1.1, 0.0, -0.7]]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_value_and_derivatives_in_both_modes_agree_with_jax_and_measuring(name):
    function, v = FUNCTIONS[name], np.array([[0.5, 1.0, -0.3], [0.2, -0.8, 0.6]])

    def number(xp, x):
        y = function(xp, x)
        return xp.sum(y * (1.0 + 0.1 * np.arange(np.size(y)).reshape(np.shape(y))))

    def everything(x):
        slope = jax.grad(lambda x: number(jnp, x))
        return slope(x), *jax.jvp(slope, (x,), (v,))[1:], *jax.jvp(lambda x: function(jnp, x), (x,), (v,))

    x = STARTS["zeros" if "prod" in name else "anywhere"]
    with jax.enable_x64(True):
        expected = [np.asarray(y) for y in jax.jit(everything)(x)]
    found = (
        grad(lambda x: number(np, x))(x),
        hvp(lambda x: number(np, x), x, v),
        *jvp(lambda x: function(np, x), (x,), (v,)),
    )
    for ours, theirs in zip(found, expected, strict=True):
        assert np.shape(ours) == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found[0], numerical_grad(lambda x: number(np, x), x), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "function",
    [
        *(lambda x: np.prod(x, axis=0), lambda x: np.cumsum(x), lambda x: np.cumsum(x, -1), lambda x: np.clip(x, 0, 1)),
        *(lambda x: np.einsum("ij,ij->i", x, x), lambda x: np.dot(x.T, x), lambda x: np.split(x, [0], 0)[1]),
        *(
            lambda x: np.take_along_axis(x, np.zeros((0, 1), int), 1),
            lambda x: x.astype(np.float32),
            lambda x: x.ravel(),
        ),
        *(lambda x: np.std(x, 1), lambda x: np.log1p(x), lambda x: np.prod(x)),
    ],
)
def test_arrays_without_elements_keep_their_shape(function):
    x = np.zeros((0, 3))
    assert np.shape(jvp(function, (x,), (x,))[1]) == np.shape(function(x))
    assert grad(lambda x: np.sum(function(x)))(x).shape == hvp(lambda x: np.sum(function(x)), x, x).shape == x.shape


X = np.arange(6.0).reshape(2, 3) - 2.5
FORMS = [
    *(lambda t: np.swapaxes(t, axis1=0, axis2=1), lambda t: np.sum(a=t), lambda t: np.var(t, 0, None)),
    *(lambda t: np.expand_dims(t, [0, 1]), lambda t: np.expand_dims(a=t, axis=0), lambda t: np.amax(t, axis=(0, 1))),
    *(lambda t: np.sum(t, (0, 1), np.float32, None, True), lambda t: np.max(t, 0, None, True), lambda t: np.amin(t)),
    *(lambda t: np.var(t, 0, None, None, 1, True), lambda t: np.std(t, 0, correction=1), lambda t: np.min(a=t, axis=0)),
    *(lambda t: np.var(t, 0, mean=np.mean(t, 0, keepdims=True)), lambda t: np.mean(t, -1, None, None, True)),
    *(lambda t: np.reshape(t, (3, 2), "C"), lambda t: t.reshape([3, 2]), lambda t: t.reshape(3, -1, order="C")),
    *(lambda t: np.transpose(t, axes=[1, 0]), lambda t: t.transpose(1, 0), lambda t: t.transpose((1, 0))),
    *(lambda t: np.concatenate((t, t), 1, None), lambda t: np.concatenate([t, t], dtype=np.float32)),
    *(lambda t: np.stack(arrays=[t, t], axis=-1), lambda t: np.stack([t, t], 0, None), lambda t: np.where(t > 0)[1]),
    *(lambda t: np.broadcast_to(array=t, shape=(4, 2, 3)), lambda t: np.broadcast_to(t, (4, 2, 3), True)),
    *(lambda t: np.squeeze(a=t[None], axis=None), lambda t: t[None].squeeze(axis=(0,)), lambda t: t.flatten(order="C")),
    *(lambda t: np.size(t, 0), lambda t: np.shape(a=t), lambda t: np.argmax(a=t, axis=1, keepdims=True)),
    *(lambda t: np.clip(t, a_min=0, a_max=None), lambda t: t.clip(max=1), lambda t: np.clip(np.ones(3), t[0], 2)),
    *(lambda t: np.prod(a=t, axis=(0, 1), keepdims=True), lambda t: t.prod(0), lambda t: t.cumsum(1, np.float32)),
    *(lambda t: np.split(ary=t, indices_or_sections=[1, 1, 5], axis=-1)[2], lambda t: np.dot(a=2.0, b=t)),
    *(lambda t: np.take_along_axis(t, indices=np.argsort(t, axis=-1), axis=-1), lambda t: t.astype(dtype=int)),
    *(lambda t: t.sum(0, None, None, True), lambda t: t.max(0, None, True), lambda t: t.var(0, None, None, 1)),
    *(lambda t: np.add(t, 1, None), lambda t: np.add(t, 1, dtype=None), lambda t: +t, lambda t: np.zeros_like(t)),
]


@pytest.mark.parametrize("form", FORMS)
def test_names_and_order_of_arguments_are_those_of_numpy(form):
    found, expected = form(Tensor(X)), form(X)
    found = found.value if isinstance(found, Tensor) else found
    assert np.shape(found) == np.shape(expected)
    assert np.asarray(found).dtype == np.asarray(expected).dtype
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda t: np.sum(t, out=np.zeros(())), "np.sum into an array: .* in place"),
        (lambda t: np.sum(t, where=t > 0), "np.sum: the argument where .* np.where before"),
        (lambda t: np.max(t, initial=0.0), "np.max: the argument initial is not supported"),
        (lambda t: np.reshape(t, 6, "F"), "np.reshape: order='F' is not supported .* only 'C'"),
        (lambda t: t.flatten("F"), "order='F' is not supported"),
        (lambda t: np.concatenate([t, t], casting="unsafe"), "np.concatenate: the argument casting"),
        (lambda t: np.sum(t, axis=[0, 1]), r"sum: .*; operand shapes \(2, 3\)"),
        (lambda t: t.cumsum((0, 1)), r"cumsum: axis must be one whole number; got \(0, 1\)"),
        (lambda t: np.dot(t, t), r"dot: shapes \(2, 3\) and \(2, 3\) do not fit"),
        (lambda t: np.split(t, 4, 1), "split: an axis of length 3 has no 4 parts"),
        (lambda t: np.take_along_axis(t, np.array([0]), 1), "take_along_axis: the indices must be whole .* 2 axes"),
        (lambda t: np.einsum("ij,jk", t), "einsum: 'ij,jk' names 2 operands; there are 1"),
        (lambda t: np.einsum("ij->k", t), r"einsum: .* 'k' .*; operand shapes \(2, 3\)"),
        (lambda t: np.einsum("...j->j", t), r"einsum: the output of .* must have '...'"),
        (lambda t: np.clip(t, 0, 1, min=0), "np.clip: a_min and a_max are the same as min and max"),
        (lambda t: np.var(t, ddof=1, correction=1), "np.var: ddof and correction are the same"),
        (lambda t: t.astype(complex), "astype: a Tensor is real"),
        (lambda t: t + "a", "add: a Tensor cannot be combined with str"),
    ],
)
def test_what_is_not_offered_is_refused_in_one_line(wrong, message):
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        wrong(Tensor(X))
    assert "\n" not in str(caught.value)
