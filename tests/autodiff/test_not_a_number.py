"""nan and ∞: no value and no derivative hides them, and NumPy does not warn of them where JAX does not."""

import math
import warnings

import jax
import numpy as np
import pytest

from llm_jax.autodiff import Scalar, Tensor, backward, functions, grad, hvp, jvp, log_softmax, relu, softmax

KEEPERS = [
    *(relu, functions.gelu, softmax, log_softmax, functions.logsumexp, abs, np.sqrt, np.exp, np.tanh, np.log1p),
    *(lambda x: np.maximum(x, 0.0), lambda x: np.minimum(0.0, x), lambda x: np.clip(x, 0.0, 1.0), np.max, np.min),
    *(np.std, np.var, lambda x: x**2, lambda x: x**0.5),
    *(lambda x: np.max(x, axis=0, keepdims=True), lambda x: functions.layer_norm(x, 1.0, 0.0), np.expm1),
]
LINEAR = [np.mean, np.cumsum, np.prod, lambda x: np.where(x > 9, 0.0, x)]  # whose slope at a nan is a number


@pytest.mark.parametrize("function", KEEPERS + LINEAR)
def test_nan_stays_in_the_value(function):
    x = np.array([np.nan, 1.0, -1.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = jvp(function, (x,), (np.ones(3),))[0]
        assert np.isnan(np.ravel(value)[0])
        assert np.isnan(np.ravel(function(Tensor(x)).value)[0])


@pytest.mark.parametrize("function", KEEPERS)
def test_nan_stays_in_the_derivative_in_both_modes(function):
    x = np.array([np.nan, 1.0, -1.0])
    assert np.isnan(grad(lambda x: np.sum(function(x) * 2.0))(x)[0])
    assert np.isnan(np.ravel(jvp(function, (x,), (np.ones(3),))[1])[0])


def test_maximum_of_infinities_shares_its_derivative_and_infinity_is_not_nan():
    assert grad(np.maximum, (0, 1))(np.inf, np.inf) == (0.5, 0.5)
    assert relu(np.array([-np.inf, np.inf])).tolist() == [0.0, np.inf]
    assert grad(lambda x: np.sum(relu(x)))(np.array([-np.inf, 0.0, np.inf])).tolist() == [0.0, 0.0, 1.0]
    assert grad(lambda x: grad(lambda y: np.sum(relu(y * x)))(1.0))(math.nan) != 0.0


def test_nan_stays_in_the_scalar_engine():
    x = Scalar(math.inf)
    y = (x - x).relu()
    assert math.isnan(y.value)
    assert math.isnan(backward(y)[x])
    for f in (lambda s: s.tanh(), lambda s: s.exp(), lambda s: s.log(), lambda s: +s, lambda s: s**2, lambda s: 2.0**s):
        assert math.isnan(f(Scalar(math.nan)).value)


@pytest.mark.parametrize(
    ("base", "exponent", "value", "slope"),
    [
        (0.0, 0.5, 0.0, math.inf),
        (0.0, 1, 0.0, 1.0),
        (0.0, 2, 0.0, 0.0),
        (0.0, 0, 1.0, 0.0),
        (1e-200, -1.5, 1e300, -math.inf),
    ],
)
def test_a_slope_may_be_infinite_where_the_power_is_not(base, exponent, value, slope):
    x = Scalar(base)
    y = x**exponent
    assert y.value == pytest.approx(value)
    assert backward(y)[x] == slope == grad(lambda x: x**exponent)(base)


@pytest.mark.parametrize("x", [[3.0], [2.0, 2.0], [0.1, 0.1, 0.1], [[1.0, 1.0], [0.7, 0.7]]])
def test_the_standard_deviation_of_equal_numbers_is_flat(x):
    x = np.array(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not np.any(grad(lambda x: np.sum(np.std(x, axis=-1)))(x))
        assert not np.any(hvp(lambda x: np.sum(x.std(-1, keepdims=True)), x, x))
    assert np.isnan(Tensor([1.0]).std(ddof=1).value)
    assert np.isnan(Tensor([np.inf, np.inf]).std().value)


@pytest.mark.parametrize(
    "x", [[np.inf, 1.0, 2.0], [-np.inf, 1.0, 2.0], [-np.inf, -np.inf, -np.inf], [1e308, -1e308, 0.0]]
)
@pytest.mark.parametrize("name", ["log_softmax", "softmax", "relu"])
def test_infinite_logits_follow_jax_without_a_warning(name, x):
    x = np.array(x)
    with jax.enable_x64(True):
        expected = np.asarray(getattr(jax.nn, name)(x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(getattr(functions, name)(x), expected)
        np.testing.assert_allclose(getattr(functions, name)(Tensor(x)).value, expected)
        grad(lambda x: np.sum(getattr(functions, name)(x) * x))(x)


@pytest.mark.parametrize(
    "function",
    [
        *(np.log, np.sqrt, np.log1p, np.exp, np.expm1, lambda x: 1.0 / x, lambda x: x / x, lambda x: x**-1.0),
        *(lambda x: 0.0**x, lambda x: x**x, np.square, lambda x: x @ x, np.prod, np.cumsum, np.var, np.std, np.max),
        *(
            lambda x: x.astype(np.float16),
            lambda x: x - x,
            lambda x: np.sum(x),
            lambda x: np.where(x > 0, np.log(x), x),
        ),
        *(lambda x: np.einsum("i,i", x, x), lambda x: np.clip(x, np.inf, -np.inf), lambda x: np.dot(x, x)),
    ],
)
def test_nothing_is_said_where_jax_says_nothing(function):
    x = np.array([0.0, -1.0, np.inf, -np.inf, 1e300, np.nan])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        f = lambda x: np.sum(function(x))  # noqa: E731
        backward(f(Tensor(x)))
        _ = grad(f)(x), hvp(f, x, x), jvp(function, (x,), (x,))


def test_who_asks_numpy_to_raise_still_finds_the_operation():
    with np.errstate(all="raise"), pytest.raises(FloatingPointError, match="divide by zero encountered in log"):
        grad(np.log)(0.0)
