"""The array engine as a whole: pytrees, memory, misuse, depth, and derivatives of derivatives."""

import gc
import math
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
import pytest

from llm_jax.autodiff import Scalar, Tensor, backward, gelu, grad, hvp, jvp, logsumexp, relu, softmax, value_and_grad
from llm_jax.autodiff.finite_difference import numerical_grad


def network(p, x):
    return np.mean(np.square(np.tanh(x @ p["hidden"]["w"] + p["hidden"]["b"]) @ p["out"][0] * p["scale"]))


@pytest.fixture
def parameters(rng):
    hidden = {"w": rng.normal(size=(3, 4)), "b": rng.normal(size=4)}
    return {"hidden": hidden, "out": [rng.normal(size=(4, 2))], "scale": 0.7}


def test_gradient_has_structure_shapes_and_types_of_the_argument(parameters, rng):
    x = rng.normal(size=(5, 3))
    value, gradient = value_and_grad(network)(parameters, x)
    assert type(value) is float
    assert value == pytest.approx(network(parameters, x))
    assert jax.tree.structure(gradient) == jax.tree.structure(parameters)
    assert type(gradient["scale"]) is float
    jax.tree.map(
        lambda found, measured: np.testing.assert_allclose(found, measured, rtol=1e-6),
        gradient,
        numerical_grad(lambda p: network(p, x), parameters),
    )


def test_registered_dataclasses_are_pytrees():
    @jax.tree_util.register_dataclass
    @dataclass
    class Line:
        slope: float
        offset: np.ndarray

    gradient = grad(lambda line: line.slope * np.sum(line.offset))(Line(3.0, np.ones(2)))
    assert isinstance(gradient, Line)
    assert gradient.slope == 2.0
    assert gradient.offset.tolist() == [3.0, 3.0]


def test_argnums_choose_the_arguments():
    f = lambda x, y, scale: scale * x * y  # noqa: E731
    assert grad(f, 1)(2.0, 3.0, scale=5.0) == 10.0
    assert grad(f, (1, 0))(2.0, 3.0, scale=5.0) == (10.0, 15.0)
    assert grad(f, -1)(2.0, 3.0, scale=5.0) == grad(f, np.int64(1))(2.0, 3.0, scale=5.0) == 10.0


def test_unused_argument_has_gradient_zero():
    gradient = grad(lambda p: p["used"] ** 2)({"used": 3.0, "unused": np.ones((2, 2), np.float32)})
    assert gradient["unused"].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert gradient["unused"].dtype == np.float32


def test_constant_function_has_gradient_zero():
    assert value_and_grad(lambda x: 4.0)(1.0) == (4.0, 0.0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(
    "function",
    [
        *(softmax, logsumexp, gelu, relu, np.max, np.min, np.mean, np.var, np.sqrt),
        *(lambda x: x**3, lambda x: 2.0 / x, lambda x: 2.0**x, lambda x: x @ x, lambda x: x[[0, 0]]),
        *(lambda x: np.maximum(x, 1.0), lambda x: np.where(x > 1, x, 0.0)),
    ],
)
def test_precision_is_kept(function, dtype):
    x = Tensor(np.arange(1, 4, dtype=dtype))
    y = np.sum(function(x))
    assert y.dtype == backward(y)[x].dtype == dtype
    assert hvp(lambda x: np.sum(function(x)), x.value, x.value).dtype == dtype


def test_tensor_used_twice_collects_from_both_uses():
    x = Tensor([1.0, 2.0])
    y = np.sum(x * x + x)
    assert backward(y)[x].tolist() == [3.0, 5.0]
    assert backward(y)[x].tolist() == [3.0, 5.0]


def test_chain_of_ten_thousand_needs_no_recursion():
    def f(x):
        y = x
        for _ in range(10_000):
            y = y + x
        return np.sum(y)

    x = np.array([0.5])
    assert grad(f)(x).tolist() == [10_001.0]
    assert jvp(f, (x,), (x,))[1] == 5_000.5


def test_graph_is_freed_without_the_cycle_collector():
    gc.collect()
    gc.disable()
    try:
        before = sum(type(o) is Tensor for o in gc.get_objects())
        grad(lambda x: np.sum(np.tanh(x @ x) * x[:, 0]))(np.eye(3))
        assert sum(type(o) is Tensor for o in gc.get_objects()) == before
    finally:
        gc.enable()


def test_changing_an_argument_after_recording_does_not_change_the_gradient():
    weights, data = np.array([1.0, 2.0]), np.array([3.0, 4.0])

    def f(w):
        y = np.sum(w * w * data)
        weights[:] = 0.0
        data[:] = 0.0
        return y

    assert grad(f)(weights).tolist() == [6.0, 16.0]


def test_changing_an_index_after_recording_does_not_change_the_gradient():
    index = np.array([0, 0])

    def f(x):
        y = np.sum(x[index])
        index[:] = 1
        return y

    assert grad(f)(np.ones(2)).tolist() == [2.0, 0.0]


def test_gradients_share_no_memory_with_each_other_or_the_arguments():
    x = np.ones(3)
    a, b = grad(lambda p: np.sum(p[0] + p[1]))((x, x))
    a[:] = 7.0
    assert b.tolist() == x.tolist() == [1.0, 1.0, 1.0]
    (value,), (change,) = jvp(lambda x: [x], (x,), (x,))
    value[:] = change[:] = 7.0
    assert x.tolist() == [1.0, 1.0, 1.0]


def test_augmented_assignment_gives_the_name_to_a_new_node():
    def f(x):
        y = x
        y += x
        y *= 3.0
        y -= 1.0
        y /= 2.0
        y **= 2
        return np.sum(y * x)

    x = np.array([1.0, -2.0])
    np.testing.assert_allclose(grad(f)(x), numerical_grad(lambda x: float(f(Tensor(x)).value), x), rtol=1e-6)


def test_comparisons_are_plain_and_element_by_element():
    x = Tensor([1.0, 2.0])
    assert isinstance(x > 1.5, np.ndarray)
    assert (x == np.array([1.0, 3.0])).tolist() == [True, False]
    assert np.argmax(x) == 1
    assert bool(np.sum(x) == 3.0)


def test_second_and_third_derivatives():
    assert grad(grad(grad(lambda x: x**4)))(2.0) == pytest.approx(48.0)


def test_hessian_vector_product_agrees_with_jax(rng):
    x, v = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))

    def f(xp, softmax, x):
        return xp.sum(softmax(xp.tanh(x) @ x.T) ** 2)

    with jax.enable_x64(True):
        expected = jax.jit(partial(jax.jvp, jax.grad(lambda x: f(jax.numpy, jax.nn.softmax, x))))((x,), (v,))[1]
    np.testing.assert_allclose(hvp(lambda x: f(np, softmax, x), x, v), expected, rtol=1e-9)


def test_derivatives_of_different_levels_are_not_confused():
    """d/dx [x · d/dy (x·y)] = 2x; taking x for a variable of the inner derivative would give x."""
    assert grad(lambda x: x * grad(lambda y: x * y)(1.0))(3.0) == 6.0
    assert jvp(lambda x: x * jvp(lambda y: x * y, (1.0,), (1.0,))[1], (3.0,), (1.0,))[1] == 6.0
    assert grad(lambda x: jvp(lambda y: x * y * y, (x,), (1.0,))[1])(3.0) == 12.0


def test_level_is_left_when_the_function_fails():
    with pytest.raises(ZeroDivisionError):
        grad(lambda x: 1 / 0)(1.0)
    assert grad(lambda x: x * x)(3.0) == 6.0


def test_jvp_keeps_the_structure_of_the_output():
    value, change = jvp(lambda x: {"twice": 2 * x, "constant": np.ones(2)}, (np.array([1.0]),), (np.array([3.0]),))
    assert value["twice"].tolist() == [2.0]
    assert change["twice"].tolist() == [6.0]
    assert change["constant"].tolist() == [0.0, 0.0]


def row(*numbers):
    return Tensor([float(n) for n in numbers])


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: row(1, 2) + row(1, 2, 3), ValueError, r"add: shapes \(2,\) and \(3,\) do not fit"),
        (lambda: Tensor(np.ones((2, 3))) @ np.ones((4, 5)), ValueError, r"matmul: shapes \(2, 3\) and \(4, 5\)"),
        (lambda: np.ones((4, 5)) @ row(1, 2), ValueError, r"matmul: shapes \(4, 5\) and \(2,\)"),
        (lambda: row(1) @ np.float64(2), ValueError, r"matmul: shapes \(1,\) and \(\)"),
        (
            lambda: Tensor(np.ones((2, 1, 1))) @ np.ones((3, 1, 1)),
            ValueError,
            r"matmul: shapes \(2, 1, 1\) and \(3, 1, 1\) are stacks",
        ),
        (lambda: np.reshape(row(1, 2), (3,)), ValueError, r"reshape: .* operand shapes \(2,\)"),
        (
            lambda: np.concatenate([row(1), np.ones((1, 2))]),
            ValueError,
            r"concatenate: .* operand shapes \(1,\) and \(1, 2\)",
        ),
        (lambda: row(1)[3], IndexError, r"getitem: index 3 .* operand shapes \(1,\)"),
        (lambda: np.sum(row(1), axis=2), ValueError, r"sum: axis 2 .* operand shapes \(1,\)"),
        (lambda: np.squeeze(row(1, 2), 0), ValueError, r"squeeze: axis 0 of shape \(2,\)"),
        (lambda: np.squeeze(row(1), 3), ValueError, "squeeze: axis 3 is out of bounds"),
        (lambda: np.expand_dims(row(1, 2), 7), ValueError, "expand_dims: axis 7 is out of bounds for .* dimension 2"),
        (lambda: np.swapaxes(row(1, 2), 0, 5), ValueError, "swapaxes: axis 5 is out of bounds for .* dimension 1"),
        (lambda: np.sum(Tensor(1.0), axis=0), ValueError, "sum: axis 0 is out of bounds for .* dimension 0"),
        (lambda: row(1, 2) * np.array([1j, 2.0]), TypeError, "multiply: a Tensor is real; got complex128"),
        (lambda: row(1, 2) + np.complex64(1j), TypeError, "add: a Tensor is real; got complex64"),
        (lambda: np.where(True, row(1), 1j), TypeError, "where: a Tensor is real; got complex128"),
        (lambda: np.where(row(1, 2) > 0, row(1, 2), np.ones(3)), ValueError, r"where: shapes \(2,\) and \(2,\) and"),
        (lambda: np.arctan(row(1)), TypeError, "np.arctan has no derivative here; these have one: absolute, add"),
        (lambda: np.linalg.inv(row(1)), TypeError, "np.inv has no derivative here"),
        (lambda: np.exp(row(1), where=True), TypeError, "np.exp: the option where"),
        (lambda: np.exp(row(1), out=np.ones(1)), TypeError, "np.exp into an array: .* in place"),
        (lambda: np.add.reduce(row(1)), TypeError, r"np.add.reduce: .* in place"),
        (lambda: row(1).__setitem__(0, 2.0), TypeError, "cannot be changed in place: build a new one"),
        (lambda: np.zeros(1).__iadd__(row(1)), TypeError, "np.add into an array: .* in place"),
        (lambda: np.zeros(2).__setitem__(0, row(1)), ValueError, "setting an array element"),
        (lambda: np.array([row(1), 2.0]), TypeError, "history would be lost"),
        (lambda: math.exp(Tensor(1.0)), TypeError, "use np.exp instead of math.exp"),
        (lambda: row(1) * Scalar(2.0), TypeError, r"multiply: a Scalar .* array of shape \(1,\)"),
        (lambda: np.where(True, row(1), Scalar(1.0)), TypeError, "where: a Tensor cannot be combined with Scalar"),
        (lambda: Tensor([1, 2]), TypeError, "got int64 of shape .2,.: convert it first"),
        (lambda: Tensor(True), TypeError, "got bool"),
        (lambda: len(Tensor(1.0)), TypeError, "no length"),
        (lambda: backward(row(1, 2) * 2), ValueError, r"one number; multiply has shape \(2,\)"),
        (lambda: backward(row(1, 2)), ValueError, r"one number; the leaf has shape \(2,\)"),
        (lambda: grad(lambda x: x * 2)(np.ones(3)), ValueError, r"shape \(3,\) made by multiply: reduce it first"),
        (lambda: grad(lambda x: (x, x))(1.0), TypeError, "must return one number .* returned tuple"),
        (lambda: grad(lambda p: p["a"] * 1.0)({"a": np.arange(3)}), TypeError, r"\['a'\]: .* got int64"),
        (lambda: grad(lambda p: 1.0)({"a": "text"}), TypeError, r"\['a'\]: a Tensor holds floating-point"),
        (lambda: grad(lambda x: x, 1)(1.0), TypeError, "argnums 1 needs at least 2 arguments; got 1"),
        (lambda: grad(lambda x, y: x, -5)(1.0, 2.0), TypeError, "argnums -5 needs at least 5 arguments; got 2"),
        (lambda: grad(lambda x, y: x, (0, 0))(1.0, 2.0), ValueError, r"argnums \(0, 0\) of 2 .* one of them twice"),
        (lambda: grad(lambda x, y: x, (0, -2))(1.0, 2.0), ValueError, r"argnums \(0, -2\) of 2 .* one of them twice"),
        (lambda: jvp(lambda x: x, (np.ones(2),), (np.ones(3),)), ValueError, r"shape \(3,\) for .* shape \(2,\)"),
        (lambda: jvp(lambda x: x, (np.ones(2),), ([np.ones(2)],)), ValueError, "the direction has structure"),
    ],
)
def test_mistakes_are_named(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()


@pytest.mark.parametrize("shape", [(2, 3), (1, 3, 1), (0, 3), (4,)])
@pytest.mark.parametrize(
    "function",
    [
        *(lambda xp, x: xp.squeeze(x), lambda xp, x: xp.squeeze(xp.expand_dims(x, -1), (-1,))),
        *(lambda xp, x: xp.expand_dims(x, (0, -1)), lambda xp, x: xp.concatenate([x, x * x], axis=None)),
        *(lambda xp, x: xp.broadcast_to(xp.sum(x), 3), lambda xp, x: xp.mean(x, axis=-1), lambda xp, x: xp.var(x, 0)),
        *(lambda xp, x: x.mean(np.int64(-1)), lambda xp, x: x.sum(np.int64(0)), lambda xp, x: xp.sum(x, axis=(0,))),
        *(lambda xp, x: x.var(-1, ddof=1), lambda xp, x: x + x.size, lambda xp, x: x @ xp.ones((x.shape[-1], 2))),
    ],
)
def test_shapes_axes_and_empty_arrays_are_taken_as_in_jax(function, shape, rng):
    x = rng.normal(size=shape)
    weigh = lambda y: 0.1 * np.arange(1.0, y.size + 1.0).reshape(y.shape)  # noqa: E731
    with jax.enable_x64(True):
        expected, pull = jax.vjp(lambda x: function(jax.numpy, x), x)
        (slope,) = pull(weigh(expected))
    with np.errstate(invalid="ignore"):  # a mean of nothing
        found = function(np, Tensor(x))
        ours = grad(lambda x: np.sum(function(np, x) * weigh(expected)))(x)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.value, expected, rtol=1e-12)
    np.testing.assert_allclose(ours, slope, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("x", [np.zeros(0), np.zeros((0, 3))])
def test_mean_and_variance_of_nothing_are_not_a_number(x):
    with np.errstate(invalid="ignore"):
        assert np.isnan(np.mean(Tensor(x), axis=0).value).all()
        assert np.isnan(np.var(Tensor(x)).value)
        assert grad(np.mean)(x).shape == x.shape


def test_a_product_over_no_elements_is_zero():
    x = np.ones((2, 3, 0))
    assert np.array_equal((Tensor(x) @ np.ones((0, 4))).value, np.zeros((2, 3, 4)))
    assert grad(lambda x: np.sum(x @ np.ones((0, 4))))(x).shape == x.shape


def test_methods_are_those_of_numpy(rng):
    x = rng.normal(size=(3, 4))
    for name in ("sum", "mean", "var", "std", "max", "min"):
        for axis in (None, 0, (0, 1)):
            found = getattr(Tensor(x), name)(axis=axis, keepdims=True)
            np.testing.assert_allclose(found.value, getattr(x, name)(axis=axis, keepdims=True), rtol=1e-12)
    assert Tensor(x).size == np.size(Tensor(x)) == 12


def test_recorded_values_refuse_to_be_written():
    y = row(1, 2) * 2
    with pytest.raises(ValueError, match="read-only"):
        y.value[0] = 5.0


def test_an_empty_list_picks_nothing():
    np.testing.assert_array_equal(grad(lambda x: (x[[]] ** 2).sum() + x[0])(np.ones(3)), [1, 0, 0])


def test_a_mask_is_refused_and_not_lost():
    masked = np.ma.array([1.0, 2.0], mask=[False, True])
    for function, argument in ((lambda x: (x * x).sum(), masked), (lambda x: (x * masked).sum(), np.ones(2))):
        with pytest.raises(TypeError, match=r"a Tensor has no mask, .*: fill the array first, with \.filled\(\)"):
            grad(function)(argument)


def test_a_difference_quotient_keeps_arrays_without_axes():
    found = numerical_grad(lambda x: x[None].sum() ** 2, np.array(2.0))
    assert isinstance(found, np.ndarray)
    assert found == pytest.approx(4)
    assert isinstance(numerical_grad(lambda x: x**2, 2.0), float)
