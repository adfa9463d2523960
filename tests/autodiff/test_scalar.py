"""The scalar engine: published numbers, agreement with PyTorch and finite differences, and the shape of its graphs."""

import gc
import math
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_jax.autodiff import Scalar, backward, pull_back, push_forward, topological_order, weighted_sum
from llm_jax.autodiff.finite_difference import numerical_grad


def readme_expression(a, b):
    """The example of micrograd's README."""
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + (b + a).relu()
    d += 3 * d + (b - a).relu()
    e = c - d
    f = e**2
    g = f / 2.0
    g += 10.0 / f
    return g


def test_micrograd_readme():
    a, b = Scalar(-4.0), Scalar(2.0)
    g = readme_expression(a, b)
    gradients = backward(g)
    assert f"{g.value:.4f}" == "24.7041"
    assert f"{gradients[a]:.4f}" == "138.8338"
    assert f"{gradients[b]:.4f}" == "645.5773"


def test_micrograd_readme_agrees_with_torch_to_the_last_digits():
    x = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (-4.0, 2.0)]
    theirs = torch.autograd.grad(readme_expression(*x), x)
    a, b = Scalar(-4.0), Scalar(2.0)
    gradients = backward(readme_expression(a, b))
    assert [gradients[a], gradients[b]] == pytest.approx([float(t) for t in theirs], rel=1e-13)


def test_one_neuron_of_the_first_lecture():
    """nn-zero-to-hero, lecture 1: o = tanh(x·w + b)."""
    x1, x2, w1, w2, b = map(Scalar, (2.0, 0.0, -3.0, 1.0, 6.8813735870195432))
    o = (x1 * w1 + x2 * w2 + b).tanh()
    gradients = backward(o)
    assert o.value == pytest.approx(0.70711, abs=1e-5)
    assert [gradients[v] for v in (x1, w1, x2, w2)] == pytest.approx([-1.5, 1.0, 0.5, 0.0], abs=1e-6)


OPERATIONS = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "power": lambda x, y: x**y,
    "negative": lambda x, y: -x,
    "exp": lambda x, y: x.exp(),
    "log": lambda x, y: y.log(),
    "tanh": lambda x, y: x.tanh(),
    "relu": lambda x, y: (x - y).relu(),
    "number on the right": lambda x, y: ((x + 2) * 3 - 1) / 4 + x**3,
    "number on the left": lambda x, y: 2 - 3 * (1 + x) + 4 / y + 2**x,
}


@pytest.mark.parametrize("name", OPERATIONS)
@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.floats(0.3, 3.0), st.floats(0.3, 3.0))
def test_operation_agrees_with_torch_and_finite_differences(name, at_x, at_y):
    f = OPERATIONS[name]
    x, y = Scalar(at_x), Scalar(at_y)
    output = f(x, y)
    found = backward(output)
    ours = [found.get(x, 0.0), found.get(y, 0.0)]

    leaves = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (at_x, at_y)]
    result = f(*leaves)
    theirs = torch.autograd.grad(result, leaves, allow_unused=True)
    assert output.value == pytest.approx(result.item(), rel=1e-13)
    assert ours == pytest.approx([0.0 if t is None else t.item() for t in theirs], rel=1e-12)
    if abs(at_x - at_y) > 1e-3:  # away from relu's kink
        measured = numerical_grad(lambda v: f(Scalar(v[0]), Scalar(v[1])).value, [at_x, at_y])
        assert ours == pytest.approx(measured, rel=1e-5, abs=1e-6)


def test_a_node_used_twice_collects_from_both_uses():
    a = Scalar(3.0)
    b = a + a
    assert backward(b)[a] == 2.0
    assert backward(b * a)[a] == 12.0


def test_paths_that_part_and_meet_again_are_all_summed():
    a, b = Scalar(-2.0), Scalar(3.0)
    d, e = a * b, a + b
    f = d * e
    assert [backward(f)[v] for v in (a, b)] == [-3.0, -8.0]  # micrograd's own hard case


def test_second_backward_gives_the_same_answer():
    a = Scalar(2.0)
    y = a * a * a
    assert backward(y)[a] == backward(y)[a] == 12.0


def test_backward_from_an_inner_node_and_from_the_output_do_not_disturb_each_other():
    a = Scalar(2.0)
    inner = a * a
    outer = inner * 5.0
    assert (backward(outer)[a], backward(inner)[a], backward(outer)[a]) == (20.0, 4.0, 20.0)


def test_changing_a_name_does_not_change_what_was_recorded():
    a = Scalar(2.0)
    b = a
    b += 1.0
    assert backward(a * b)[a] == 5.0


def test_weighted_sum_equals_its_nodes_one_by_one():
    w, x, b = [Scalar(2.0), Scalar(-1.0), 4.0], [0.5, Scalar(3.0), Scalar(7.0)], Scalar(0.25)
    fused, single = weighted_sum(w, x, b), b + w[0] * x[0] + w[1] * x[1] + w[2] * x[2]
    assert fused.value == single.value
    found, expected = backward(fused * fused), backward(single * single)
    assert all(found[node] == expected[node] for node in (w[0], w[1], x[1], x[2], b))


def test_weighted_sum_counts_a_weight_that_is_also_a_value_twice():
    a = Scalar(3.0)
    assert backward(weighted_sum([a, a], [a, 1.0]))[a] == 7.0


def test_forward_and_reverse_agree():
    a, b = Scalar(0.5), Scalar(-1.5)
    y = (a * b + a.exp()).tanh() / b
    reverse = backward(y)
    assert push_forward([y], {a: 2.0, b: -1.0})[y] == pytest.approx(2.0 * reverse[a] - reverse[b])


def test_cotangent_scales_the_gradient():
    a = Scalar(4.0)
    assert pull_back(a * a, 0.5)[a] == 4.0


def test_chain_of_ten_thousand_needs_no_recursion():
    x = Scalar(0.001)
    y = x
    for _ in range(10_000):
        y = y + x
    assert backward(y)[x] == 10_001.0
    assert push_forward([y], {x: 1.0})[y] == 10_001.0


class Watched(Scalar):
    """A number of which one can see whether it still exists."""

    __slots__ = ("__weakref__",)


def test_chain_of_200_000_is_freed_without_recursion():
    y = leaf = Watched(1.0)
    for _ in range(200_000):
        y = y + 1.0
    alive = weakref.ref(leaf)
    del leaf
    assert alive() is not None  # held by the chain alone
    del y
    gc.collect()
    assert alive() is None


def test_graph_is_freed_without_the_cycle_collector():
    gc.disable()
    try:
        leaf = Watched(1.0)
        alive = weakref.ref(leaf)
        y = (leaf * leaf).tanh()
        backward(y)
        del leaf, y
        assert alive() is None
    finally:
        gc.enable()


def test_every_node_comes_after_its_parents():
    a, b = Scalar(1.0), Scalar(2.0)
    c = a * b
    order = topological_order([c + (a + c)])
    assert len(order) == len(set(order)) == 5
    assert all(order.index(parent) < order.index(node) for node in order for parent in node.parents)


def test_numpy_numbers_are_numbers():
    a = Scalar(np.float32(2.0))
    assert backward(np.float64(3.0) * a + np.int64(1))[a] == 3.0


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda x: x * np.ones((2, 3)), TypeError, r"multiply: a Scalar \(shape \(\)\) .* array of shape \(2, 3\)"),
        (lambda x: x + "1", TypeError, "add: .* got str"),
        (lambda x: x - None, TypeError, "subtract: .* got NoneType"),
        (lambda x: x / 0, ZeroDivisionError, "divide: 2.0 / 0"),
        (lambda x: 1 / (x - 2), ZeroDivisionError, "divide: 1 / 0.0"),
        (lambda x: (x - 2) ** -1, ZeroDivisionError, "power: 0.0 .. -1"),
        (lambda x: (-x) ** 0.5, ValueError, "power: a base below 0"),
        (lambda x: (-x) ** x, ValueError, "power: a variable exponent needs a base above 0"),
        (lambda x: (-x).log(), ValueError, "log: needs a number above 0; got -2.0"),
        (lambda x: (x * 1000).exp(), OverflowError, "exp: e.2000.0"),
        (lambda x: (x * 1e300) ** 3, OverflowError, "power: 2e.300 .. 3"),
        (lambda x: math.exp(x), TypeError, "history"),
        (lambda x: Scalar("2"), TypeError, "Scalar: .* got str"),
        (lambda x: Scalar([1.0]), TypeError, "Scalar: .* got list"),
        (lambda x: weighted_sum([x, x], [1.0]), ValueError, "weighted_sum: 2 weights and 1 values"),
        (lambda x: weighted_sum([1.0], [2.0]), TypeError, "none of the operands is a Scalar"),
        (lambda x: weighted_sum([x], ["2"]), TypeError, "weighted_sum: .* got str"),
        (lambda x: backward(3.0), TypeError, "backward needs a recorded node; got float"),
    ],
)
def test_mistakes_are_named(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong(Scalar(2.0))


@pytest.mark.parametrize("narrow", [np.float16, np.float32])
def test_a_narrow_number_of_numpy_does_not_lower_the_precision(narrow):
    three, x = narrow(3), Scalar(0.1)
    for found, expected in ((x * three, 0.1 * 3), (x / three, 0.1 / 3), (three - x, 2.9), (x**three, 0.1**3)):
        assert type(found.value) is float
        assert found.value == expected
        assert all(type(slope) is float for slope in found.jacobians)
    assert (Scalar(70_000.0) + narrow(1)).value == 70_001
