"""Derivatives inside derivatives: structure, shape and value are those of JAX, however the modes are nested."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as pytree
import numpy as np
import pytest

from llm_jax.autodiff import Tensor, backward, grad, hvp, jvp, value_and_grad


@dataclass(frozen=True)
class Library:
    """The same names, ours or JAX's."""

    xp: Any
    grad: Callable
    value_and_grad: Callable
    jvp: Callable
    hvp: Callable


OURS = Library(np, grad, value_and_grad, jvp, hvp)
JAXS = Library(jnp, jax.grad, jax.value_and_grad, jax.jvp, lambda f, x, v: jax.jvp(jax.grad(f), (x,), (v,))[1])

STRUCTURES: dict[str, Any] = {
    "number": 0.6,
    "array": np.array([0.5, -0.4, 0.8]),
    "dict": {"a": np.array([0.5, -0.4, 0.8]), "b": np.array([[0.3, 0.9, -0.2]]), "c": 0.7},
    "nested": [np.array([0.5, -0.4, 0.8]), (0.7, {"x": np.array([[0.2, 0.4, 0.1]])}), None, {}, (), 0.2],
    "float32": {"a": np.array([0.5, 0.25], np.float32), "b": np.float32(0.5)},
    "nothing in it": {"a": np.zeros((0, 3)), "b": 0.4},
}


def weighted(e: Library, tree: Any, chosen: int) -> Any:
    """A number made of some leaves of the tree: those whose bit is set in `chosen`. Of none, it is a constant."""
    total = 0.25
    for i, leaf in enumerate(pytree.tree_leaves(tree)):
        if chosen >> i & 1:
            total = total + e.xp.sum(e.xp.exp(0.5 * leaf) * (0.3 + 0.1 * i)) + e.xp.sum(e.xp.sin(leaf)) ** 2
    return total


def wrap(e: Library, mode: str, f: Callable, chosen: int) -> Callable:
    """The function of the same kind (tree → number) that takes a derivative of f in the given mode."""
    direction = lambda p: pytree.tree_map(lambda x: x * 0.5 + 1.0, p)  # noqa: E731 (depends on the point, too)
    if mode == "grad":
        return lambda p: weighted(e, e.grad(f)(p), chosen)
    if mode == "value_and_grad":
        return lambda p: weighted(e, e.value_and_grad(f)(p), 2 * chosen + 1)
    if mode == "jvp":
        return lambda p: weighted(e, e.jvp(f, (p,), (direction(p),)), chosen)
    return lambda p: weighted(e, e.hvp(f, p, direction(p)), chosen)


def assert_like_jax(found: Any, expected: Any, argument: Any, rtol: float) -> None:
    assert pytree.tree_structure(found) == pytree.tree_structure(argument) == pytree.tree_structure(expected)
    for ours, theirs, leaf in zip(*map(pytree.tree_leaves, (found, expected, argument)), strict=True):
        assert np.shape(ours) == np.shape(leaf) == np.shape(theirs)
        assert np.asarray(ours).dtype == np.asarray(leaf).dtype
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol)


def check(nesting: tuple[str, ...], structure: str, seed: int) -> None:
    rng, argument = np.random.default_rng(seed), STRUCTURES[structure]
    chosen = [int(n) for n in rng.integers(0, 2 ** pytree.tree_structure(argument).num_leaves, len(nesting) + 1)]

    def nested(e: Library) -> Callable:
        f: Callable = lambda p: weighted(e, p, chosen[-1])  # noqa: E731
        for mode, choice in zip(nesting, chosen, strict=False):
            f = wrap(e, mode, f, choice)
        return f

    rtol = 1e-4 if structure == "float32" else 1e-8
    ours = nested(OURS)
    with jax.enable_x64(True):
        value, gradient = pytree.tree_map(np.asarray, jax.jit(jax.value_and_grad(nested(JAXS)))(argument))
    np.testing.assert_allclose(ours(argument), value, rtol=rtol)  # not traced
    found, slope = value_and_grad(ours)(argument)  # traced in reverse mode
    np.testing.assert_allclose(found, value, rtol=rtol)
    assert_like_jax(slope, gradient, argument, rtol)
    found, change = jvp(ours, (argument,), (pytree.tree_map(np.ones_like, argument),))  # traced in forward mode
    np.testing.assert_allclose(found, value, rtol=rtol)
    np.testing.assert_allclose(change, sum(np.sum(x) for x in pytree.tree_leaves(gradient)), rtol=rtol, atol=rtol)


MODES = ("grad", "value_and_grad", "jvp", "hvp")


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("mode", MODES)
def test_a_derivative_has_the_same_value_and_structure_whether_it_is_traced_or_not(mode, structure):
    for seed in range(2):
        check((mode,), structure, seed)


@pytest.mark.parametrize("nesting", [*product(("grad", "jvp", "hvp"), repeat=2)], ids="-in-".join)
def test_every_mode_in_every_mode_agrees_with_jax(nesting):
    for seed, structure in enumerate(("dict", "number")):
        check(nesting, structure, seed)


@pytest.mark.parametrize("seed", range(6))
def test_random_nestings_agree_with_jax(seed):
    rng = np.random.default_rng(100 + seed)
    nesting = tuple(str(mode) for mode in rng.choice(["grad", "value_and_grad", "jvp"], size=3))
    check(nesting, str(rng.choice(["dict", "nested", "array"])), seed)


PAIR = {"a": np.ones(3), "b": np.ones(4)}


def test_a_leaf_that_is_not_used_has_zeros_of_its_shape_also_under_another_derivative():
    f = lambda p: np.sum(p["a"] ** 2)  # noqa: E731
    h = lambda p: np.sum(np.exp(grad(f)(p)["b"]))  # noqa: E731
    assert h(PAIR) == value_and_grad(h)(PAIR)[0] == jvp(h, (PAIR,), (PAIR,))[0] == 4.0
    assert hvp(f, PAIR, PAIR)["b"].tolist() == [0.0] * 4


@pytest.mark.parametrize("x", [2.0, np.array(2.0), np.float32(2.0), np.ones((2, 0)), np.ones((2, 3), np.float32)])
@pytest.mark.parametrize("f", [lambda x: 3.0, lambda x: 2.0 * np.sum(x), lambda x: np.sum(x**3)])
def test_a_second_derivative_is_of_the_kind_of_its_argument(f, x):
    for derivative in (grad(f)(x), hvp(f, x, x), jvp(lambda x: grad(f)(x), (x,), (x,))[0]):
        assert np.shape(derivative) == np.shape(x)
        assert np.asarray(derivative).dtype == np.asarray(x).dtype
    assert type(hvp(f, x, x)) is (float if type(x) is float else np.ndarray)


def test_outputs_that_do_not_depend_on_the_input_change_by_zeros_of_their_shape():
    outer = np.arange(3.0)

    def f(x):
        constants = jvp(lambda y: {"outer": x * 2, "plain": np.ones((2, 2)), "number": 3.0}, (1.0,), (1.0,))[1]
        assert [np.shape(leaf) for leaf in pytree.tree_leaves(constants)] == [(), (3,), (2, 2)]
        return np.sum(np.cos(constants["outer"])) * np.sum(x)

    assert grad(f)(outer).tolist() == [3.0, 3.0, 3.0]


def test_structures_without_leaves_have_derivatives_without_leaves():
    for empty in (None, {}, (), [], {"a": None, "b": []}):
        assert grad(lambda p: 3.0)(empty) == empty
        assert jvp(lambda p: p, (empty,), (empty,)) == (empty, empty)
    assert grad(lambda x: x**2, ())(3.0) == ()


def test_a_variable_that_outlives_its_derivative_counts_as_its_value():
    def f(x):
        kept = []
        grad(lambda y: kept.append(y * x) or y)(x)
        return kept[0] * x  # x³, the inner y being x

    assert grad(f)(2.0) == jvp(f, (2.0,), (1.0,))[1] == 12.0
    kept = []
    grad(lambda x: kept.append(x) or x)(5.0)
    assert grad(lambda x: kept[0] * x)(2.0) == 5.0


def test_ways_out_of_the_derivative_in_progress_are_refused_by_name():
    with pytest.raises(TypeError, match=r"backward inside grad or jvp .* use grad"):
        grad(lambda x: backward(x**3)[x])(2.0)
    with pytest.raises(TypeError, match=r"Tensor already; .* use grad in grad"):
        grad(lambda x: Tensor(x) ** 2)(2.0)
    with pytest.raises(TypeError, match="a direction holds real numbers; got complex128"):
        jvp(lambda x: x, (1.0,), (1j,))


def test_a_direction_takes_the_dtype_of_its_argument():
    x = np.ones(2, np.float32)
    assert jvp(lambda x: x[None] * 2, (x,), (np.array([1, 2]),))[1].tolist() == [[2.0, 4.0]]
    traced = []
    jvp(lambda t: traced.append(jvp(lambda y: y * t, (x,), (np.ones(2),))[1]) or t, (np.float32(1),), (1.0,))
    assert traced[0].dtype == np.float32
    assert jvp(lambda x: x[None], (2.0,), (1.0,))[1].tolist() == [1.0]
