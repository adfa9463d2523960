"""Every rule of the array engine on random shapes, against finite differences, JAX and PyTorch.

Each operation is written once, for any namespace that offers NumPy's names (NumPy itself, jax.numpy, torch).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, basic_indices, integer_array_indices, mutually_broadcastable_shapes

from llm_jax.autodiff import functions, grad, hvp, jvp
from llm_jax.autodiff.finite_difference import numerical_grad
from llm_jax.autodiff.rules.elementwise import PARTIALS

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=8, deadline=None, derandomize=True)
fewer = settings(few, max_examples=3)  # JAX compiles a program for every shape


def anywhere(rng: np.random.Generator, shape) -> np.ndarray:
    return rng.normal(size=shape)


def positive(rng: np.random.Generator, shape) -> np.ndarray:
    return rng.uniform(0.5, 2.0, size=shape)


class Operation(NamedTuple):
    apply: Callable[..., Any]  # (namespace, *arrays) → array
    operands: int = 1
    domain: Callable[..., np.ndarray] = anywhere


def torch_max(xp, x, axis):
    return torch.amax(x, axis) if xp is torch else xp.max(x, axis=axis)


ELEMENTWISE = {
    "positive": Operation(lambda xp, x: +x),
    "expm1": Operation(lambda xp, x: xp.expm1(x)),
    "log1p": Operation(lambda xp, x: xp.log1p(x), domain=positive),
    "negative": Operation(lambda xp, x: -x),
    "exp": Operation(lambda xp, x: xp.exp(x)),
    "log": Operation(lambda xp, x: xp.log(x), domain=positive),
    "tanh": Operation(lambda xp, x: xp.tanh(x)),
    "sin": Operation(lambda xp, x: xp.sin(x)),
    "cos": Operation(lambda xp, x: xp.cos(x)),
    "sqrt": Operation(lambda xp, x: xp.sqrt(x), domain=positive),
    "square": Operation(lambda xp, x: xp.square(x)),
    "absolute": Operation(lambda xp, x: abs(x)),
    "add": Operation(lambda xp, x, y: x + y, 2),
    "subtract": Operation(lambda xp, x, y: x - y, 2),
    "multiply": Operation(lambda xp, x, y: x * y, 2),
    "divide": Operation(lambda xp, x, y: x / y, 2, positive),
    "power": Operation(lambda xp, x, y: x**y, 2, positive),
    "maximum": Operation(lambda xp, x, y: xp.maximum(x, y), 2),
    "minimum": Operation(lambda xp, x, y: xp.minimum(x, y), 2),
}
WITH_NUMBERS = {
    "x plus number": Operation(lambda xp, x: x + 2.0),
    "number minus x": Operation(lambda xp, x: 2.0 - x),
    "number over x": Operation(lambda xp, x: 2.0 / x, domain=positive),
    "number to the x": Operation(lambda xp, x: 2.0**x),
    "x cubed": Operation(lambda xp, x: x**3),
    "where": Operation(lambda xp, x: xp.where(x > 0, x * x, -x)),
}
REDUCTIONS = {
    "sum of all": Operation(lambda xp, x: xp.sum(x)),
    "sum over the last axis": Operation(lambda xp, x: xp.sum(x, axis=-1)),
    "sum keeping the axis": Operation(lambda xp, x: x * xp.sum(x, axis=0, keepdims=True)),
    "mean": Operation(lambda xp, x: xp.mean(x, axis=0)),
    "max": Operation(lambda xp, x: torch_max(xp, x, 0)),
    "min": Operation(lambda xp, x: -torch_max(xp, -x, -1)),
    "variance": Operation(lambda xp, x: xp.mean(xp.square(x - xp.mean(x, axis=0, keepdims=True)), axis=0)),
    "reshape": Operation(lambda xp, x: xp.reshape(x, (-1,)) ** 2),
    "transpose": Operation(lambda xp, x: xp.exp(xp.swapaxes(x, 0, -1))),
    "concatenate": Operation(lambda xp, x: xp.concatenate([x, x * x, x], axis=-1)),
    "stack": Operation(lambda xp, x: xp.stack([x, xp.exp(x)], axis=0)),
}
ONE_AXIS_OR_MORE = ELEMENTWISE | WITH_NUMBERS | REDUCTIONS


def test_every_elementwise_rule_is_tested():
    assert {ufunc.__name__ for ufunc in PARTIALS} == set(ELEMENTWISE)


def operand_shapes(count: int):
    if count == 1:
        return array_shapes(max_dims=3, max_side=3).map(lambda shape: (shape,))
    return mutually_broadcastable_shapes(num_shapes=count, min_dims=1, max_dims=3, max_side=3).map(
        lambda drawn: drawn.input_shapes
    )


def check_against_the_judges(apply, arrays, rng, judges=("finite differences", "torch", "forward", "second")):
    """The gradient of a random weighting of the output, by every judge named."""
    weights = rng.normal(size=np.shape(apply(np, *arrays)))
    v = tuple(rng.normal(size=x.shape) for x in arrays)
    every = tuple(range(len(arrays)))

    def weighted(*xs):
        return np.sum(apply(np, *xs) * weights)

    ours = grad(weighted, every)(*arrays)
    assert [g.shape for g in ours] == [x.shape for x in arrays]
    if "finite differences" in judges:
        for found, measured in zip(ours, numerical_grad(lambda xs: weighted(*xs), arrays), strict=True):
            np.testing.assert_allclose(found, measured, rtol=1e-6, atol=1e-7)
    if "torch" in judges:
        leaves = [torch.tensor(x, requires_grad=True) for x in arrays]
        output = torch.sum(apply(torch, *leaves) * torch.tensor(weights))
        for found, theirs in zip(ours, torch.autograd.grad(output, leaves), strict=True):
            np.testing.assert_allclose(found, theirs.numpy(), rtol=1e-10, atol=1e-12)
    if "jax" in judges:
        with jax.enable_x64(True):
            theirs = jax.jit(jax.grad(lambda *xs: jnp.sum(apply(jnp, *xs) * weights), every))(*arrays)
        for found, expected in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    if "forward" in judges:  # w·(J·v) = (w·J)·v
        forward = np.sum(weights * jvp(lambda *xs: apply(np, *xs), arrays, v)[1])
        np.testing.assert_allclose(
            forward, sum(np.sum(g * d) for g, d in zip(ours, v, strict=True)), rtol=1e-9, atol=1e-9
        )
    if "second" in judges:
        h = 1e-5
        above = grad(weighted, every)(*(x + h * d for x, d in zip(arrays, v, strict=True)))
        below = grad(weighted, every)(*(x - h * d for x, d in zip(arrays, v, strict=True)))
        for found, a, b in zip(hvp(lambda xs: weighted(*xs), arrays, v), above, below, strict=True):
            np.testing.assert_allclose(found, (a - b) / (2 * h), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ONE_AXIS_OR_MORE)
def test_rule_agrees_with_finite_differences_and_torch(name):
    operation = ONE_AXIS_OR_MORE[name]

    @few
    @given(operand_shapes(operation.operands), seeds)
    def check(shapes, seed):
        rng = np.random.default_rng(seed)
        check_against_the_judges(operation.apply, tuple(operation.domain(rng, shape) for shape in shapes), rng)

    check()


@pytest.mark.parametrize("name", ONE_AXIS_OR_MORE)
def test_rule_agrees_with_jax(name):
    operation = ONE_AXIS_OR_MORE[name]

    @fewer
    @given(operand_shapes(operation.operands), seeds)
    def check(shapes, seed):
        rng = np.random.default_rng(seed)
        arrays = tuple(operation.domain(rng, shape) for shape in shapes)
        check_against_the_judges(operation.apply, arrays, rng, judges=("jax",))

    check()


@few
@given(
    mutually_broadcastable_shapes(signature="(n?,k),(k,m?)->(n?,m?)", max_dims=2, max_side=3),
    seeds,
)
def test_matmul_of_vectors_matrices_and_stacks(shapes, seed):
    rng = np.random.default_rng(seed)
    arrays = tuple(rng.normal(size=shape) for shape in shapes.input_shapes)
    check_against_the_judges(lambda xp, x, y: xp.matmul(x, y), arrays, rng)


@few
@given(st.data(), array_shapes(max_dims=3, max_side=4), seeds)
def test_indexing_with_slices_and_integers(data, shape, seed):
    rng = np.random.default_rng(seed)
    index = data.draw(basic_indices(shape, allow_newaxis=True))
    check_against_the_judges(
        lambda xp, x: x[index] * 1.0, (rng.normal(size=shape),), rng, ("finite differences", "forward", "second")
    )


@few
@given(st.data(), array_shapes(max_dims=3, max_side=4), seeds)
def test_indexing_with_arrays_adds_up_what_was_taken_twice(data, shape, seed):
    rng = np.random.default_rng(seed)
    index = data.draw(integer_array_indices(shape))
    check_against_the_judges(lambda xp, x: x[index] ** 2, (rng.normal(size=shape),), rng)


LAYERS = {
    "relu": (functions.relu, jax.nn.relu, torch.relu),
    "gelu": (functions.gelu, jax.nn.gelu, lambda x: torch.nn.functional.gelu(x, approximate="tanh")),
    "softmax": (functions.softmax, jax.nn.softmax, lambda x: torch.softmax(x, -1)),
    "log_softmax": (functions.log_softmax, jax.nn.log_softmax, lambda x: torch.log_softmax(x, -1)),
    "logsumexp": (
        functions.logsumexp,
        lambda x: jax.nn.logsumexp(x, axis=-1),
        lambda x: torch.logsumexp(x, -1),
    ),
}


def in_namespace(name: str):
    ours, in_jax, in_torch = LAYERS[name]
    return lambda xp, x: (in_torch if xp is torch else in_jax if xp is jnp else ours)(x)


@pytest.mark.parametrize("name", LAYERS)
def test_layer_agrees_with_finite_differences_and_torch(name):
    @few
    @given(array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=4), seeds)
    def check(shape, seed):
        rng = np.random.default_rng(seed)
        check_against_the_judges(in_namespace(name), (rng.normal(size=shape),), rng)

    check()


@pytest.mark.parametrize("name", LAYERS)
def test_layer_agrees_with_jax(name):
    @fewer
    @given(array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=4), seeds)
    def check(shape, seed):
        rng = np.random.default_rng(seed)
        check_against_the_judges(in_namespace(name), (rng.normal(size=shape),), rng, judges=("jax",))

    check()


@few
@given(st.integers(1, 3), st.integers(3, 5), seeds)
def test_layer_norm_and_its_gain_and_bias(rows, width, seed):
    rng = np.random.default_rng(seed)
    x = np.arange(width) + 0.3 * rng.normal(size=(rows, 2, width))  # rows without spread are badly conditioned
    gain, bias = rng.normal(size=(2, width))

    def apply(xp, x, gain, bias):
        if xp is torch:
            return torch.nn.functional.layer_norm(x, (width,), gain, bias)
        return functions.layer_norm(x, gain, bias)

    check_against_the_judges(apply, (x, gain, bias), rng)


@pytest.mark.parametrize("function", [functions.softmax, functions.log_softmax, functions.logsumexp])
def test_large_logits_do_not_overflow(function):
    logits = np.array([1000.0, -1000.0, 999.0])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        gradient = grad(lambda x: np.sum(function(x) * 2.0))(logits)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1)])
@pytest.mark.parametrize("infinite", [-np.inf, np.inf])
def test_logsumexp_over_any_axes_follows_jax_also_at_infinity(axis, infinite):
    x = np.array([[1.0, infinite, 2.0], [infinite, infinite, infinite]])
    with jax.enable_x64(True):
        expected = jax.nn.logsumexp(x, axis=axis)
    np.testing.assert_allclose(functions.logsumexp(x, axis=axis), expected, rtol=1e-12)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
def test_a_power_of_zero_is_flat_in_the_exponent_as_in_jax(exponent):
    with jax.enable_x64(True):
        assert jax.grad(jnp.power, 1)(0.0, exponent) == 0.0
    assert grad(np.power, 1)(0.0, exponent) == grad(lambda n: 0.0**n)(exponent) == 0.0
    found = grad(lambda n: np.sum(np.array([0.0, 2.0]) ** n))(exponent)
    assert found == pytest.approx(2.0**exponent * np.log(2.0))


@pytest.mark.parametrize(
    ("ours", "in_jax", "at"),
    [
        (lambda x: np.maximum(x, 1.0), lambda x: jnp.maximum(x, 1.0), 1.0),
        (lambda x: np.minimum(1.0, x), lambda x: jnp.minimum(1.0, x), 1.0),
        (functions.relu, jax.nn.relu, 0.0),
        (lambda x: x**0, lambda x: x**0, 0.0),
        (lambda x: x**1, lambda x: x**1, 0.0),
    ],
)
def test_kinks_follow_jax(ours, in_jax, at):
    assert grad(ours)(at) == jax.grad(in_jax)(at)


def test_absolute_value_is_flat_at_zero_as_in_torch():
    x = torch.tensor(0.0, requires_grad=True)
    abs(x).backward()
    assert grad(abs)(0.0) == x.grad == 0.0


def test_several_largest_elements_share_the_gradient():
    assert grad(np.max)(np.array([2.0, 1.0, 2.0])).tolist() == [0.5, 0.0, 0.5]


def test_the_side_where_does_not_take_receives_zero_even_from_an_infinite_gradient():
    def f(x):
        return np.sum(np.log(np.where(np.array([True, False]), x, 0.0)))

    with np.errstate(divide="ignore"):
        assert grad(f)(np.array([2.0, 3.0])).tolist() == [0.5, 0.0]
