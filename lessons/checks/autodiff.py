"""The checks of lesson 1. Reading them before you have tried gives the answers away."""

import math

import numpy as np

from checks import Wrong, exercise, expect
from llm_jax.autodiff import Scalar, backward, topological_order


@exercise(hint="How far apart are the two points at which you evaluate f?")
def slope(answer):
    def f(x):
        return x**3 - x

    x, h = 2.0, 0.1
    above, centre, below = f(x + h), f(x), f(x - h)
    expect(
        answer(f, x, h),
        (above - below) / (2 * h),
        {
            "this looks at one side only, so the bend of the curve is in it: evaluate f at x − h, too.": (
                above - centre
            )
            / h,
            "this looks at one side only, so the bend of the curve is in it: evaluate f at x + h, too.": (
                centre - below
            )
            / h,
            "twice too large: the two points are 2h apart, not h.": (above - below) / h,
            "the sign is wrong: above minus below.": (below - above) / (2 * h),
            "divide by the distance (2h), with parentheses: / 2 * h multiplies by h.": (above - below) / 2 * h,
        },
        given="f = x³ − x, x = 2, h = 0.1",
    )
    expect(answer(math.sin, 0.5), math.cos(0.5), given="sin at 0.5, with the h of the signature")


@exercise(
    hint="Name the stages: e = a·b, d = e + c, L = d·f. Multiply the local derivatives along each path back from L."
)
def derivatives_of_L(answer):
    for a, b, c, f in ((2.0, -3.0, 10.0, -2.0), (1.5, 0.5, -1.0, 4.0)):
        expect(
            answer(a, b, c, f),
            {"a": b * f, "b": a * f, "c": f, "f": a * b + c},
            {
                "a and b are exchanged: the local derivative of a product is the OTHER factor.": {
                    "a": a * f,
                    "b": b * f,
                    "c": f,
                    "f": a * b + c,
                },
                "the path of a, b and c leads through the product with f: multiply by its local derivative, f.": {
                    "a": b,
                    "b": a,
                    "c": 1.0,
                    "f": a * b + c,
                },
                "a sum hands the derivative on unchanged, times 1: c gets what the sum gets.": {
                    "a": b * f,
                    "b": a * f,
                    "c": c * f,
                    "f": a * b + c,
                },
            },
            given=f"a = {a}, b = {b}, c = {c}, f = {f}",
        )


@exercise(
    hint="Start with derivatives[output] = 1.0; take the nodes in reversed(topological_order([output])); add to each "
    "parent derivatives[node] * jacobian."
)
def my_backward(answer):
    # A chain first: everything but the addition of contributions.
    x = Scalar(0.5)
    y = (3.0 * x + 1.0).tanh()
    found = answer(y)
    if not isinstance(found, dict):
        raise Wrong(f"return the dict of derivatives; it returned {type(found).__name__}.")
    if found.get(x) == 0.0:
        raise Wrong(
            "the derivative of the output with respect to itself must be 1 before the walk begins, and the walk must "
            "begin at the output: all derivatives stayed 0."
        )
    expect(found.get(x), backward(y)[x], given="y = tanh(3x + 1) at x = 0.5")
    # A value used twice.
    a = Scalar(3.0)
    y = a * a + a
    expect(
        answer(y)[a],
        7.0,
        {
            "this keeps only the last contribution: a value that is used twice must ADD (+=) what comes back.": 1.0,
            "this keeps only one contribution: a value that is used twice must ADD (+=) what comes back.": 3.0,
            "the two uses inside the product a·a count separately: go through ALL parents, the same one twice.": 4.0,
        },
        given="y = a·a + a at a = 3",
    )
    # An intermediate value used twice: the order matters.
    a = Scalar(2.0)
    b = a * 3.0
    y = b * b + b.exp() * a
    found, right = answer(y), backward(y)
    for node in topological_order([y]):
        expect(
            found[node],
            right[node],
            {"this overwrites what had arrived before: ADD (+=).": _overwriting(y)[node]},
            given=f"y = b·b + exp(b)·a with b = 3a, at the node {node!r}",
        )
    expect(answer(y)[a], right[a], given="the same graph a second time (does something stay behind in the nodes?)")


def _overwriting(output):
    """Reverse mode with `=` for `+=`."""
    derivatives = {node: 0.0 for node in topological_order([output])}
    derivatives[output] = 1.0
    for node in reversed(list(derivatives)):
        for parent, jacobian in zip(node.parents, node.jacobians, strict=True):
            derivatives[parent] = derivatives[node] * jacobian
    return derivatives


@exercise(hint="dx has x's shape and dW has W's. Write the three shapes down: (B, F), (B, D), (D, F).")
def matmul_gradients(answer):
    rng = np.random.default_rng(1)
    for b, d, f in ((2, 3, 4), (3, 3, 3)):
        dy, x, w = rng.normal(size=(b, f)), rng.normal(size=(b, d)), rng.normal(size=(d, f))
        right = (dy @ w.T, x.T @ dy)
        mistakes = {
            "dW is transposed: xᵀ·dy, not dyᵀ·x.": (dy @ w.T, dy.T @ x),
            "dx and dW are in each other's place: dx comes first.": right[::-1],
            "dW is the mean over the examples; the examples share W, so their contributions add.": (
                dy @ w.T,
                x.T @ dy / b,
            ),
        }
        if b == d == f:  # only where the shapes agree can a swapped transpose go unnoticed
            mistakes |= {
                "swapped transpose: dx must be dy·Wᵀ. Square matrices hide it, the derivative does not.": (
                    dy @ w,
                    x.T @ dy,
                ),
                "swapped transpose: dW must be xᵀ·dy. Square matrices hide it, the derivative does not.": (
                    dy @ w.T,
                    x @ dy,
                ),
            }
        try:
            found = answer(dy, x, w)
        except ValueError as error:
            raise Wrong(
                f"these matrices do not fit together, so a transpose is missing or swapped ({error})."
            ) from None
        expect(found, right, mistakes, given=f"shapes dy ({b}, {f}), x ({b}, {d}), w ({d}, {f})")


@exercise(hint="Differentiate (y − t)² first, then remember what the mean divides by.")
def mean_squared_error_gradient(answer):
    rng = np.random.default_rng(2)
    y, t = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    expect(
        answer(y, t),
        2 * (y - t) / y.size,
        {
            "the missing mean: this is the gradient of the sum. Each element counts 1/n in a mean.": 2 * (y - t),
            "the mean is over all n elements (4·3 here), not over the rows only.": 2 * (y - t) / len(y),
            "the factor 2 of the square is missing.": (y - t) / y.size,
            "the factor 2 of the square and the mean's 1/n are missing.": y - t,
            "the sign is wrong: where y is too large, the loss grows with y.": 2 * (t - y) / y.size,
            "this is a single number; L depends on every element of y, so the gradient has y's shape.": np.mean(
                2 * (y - t)
            ),
        },
        given="random y and t of shape (4, 3)",
    )
