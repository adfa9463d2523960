"""Automatic differentiation from scratch. Read in this order, each file adds one idea:

graph              a computation as a graph, and the chain rule as two ways to walk it
scalar             an engine for single numbers
jacobian           derivatives of arrays without the matrix
elementwise        exp, tanh, x·y, …: the derivatives of a calculus book
linear             sum, matmul, indexing, …: the derivative is the operation, its transpose goes back
reductions         the largest element, and the product
einsum             any sum of products, by letters; its transpose is another one
tensor             an engine for functions written in NumPy
methods, registry  t.sum(), …; which NumPy functions the engine knows
numpy_functions    NumPy's names and arguments for what has a rule
composed           mean, std, split, …: made of the above, so nothing to derive
functions          relu, softmax, layer norm, …: what neural networks use
tracing            arguments of any structure
reverse            value_and_grad and grad
forward            jvp, and hvp for curvature
quiet              ∞ and nan come without NumPy's warnings
frozen             values that cannot change after they were recorded
finite_difference  the judge: derivatives by measuring, to check all others
layout, drawing    a picture of the graph
by_hand/           fused gradients for the layers of neural networks, derived with pen and paper
"""

from llm_jax.autodiff import composed  # noqa: F401 (registers what is in it, and in numpy_functions)
from llm_jax.autodiff.drawing import draw
from llm_jax.autodiff.finite_difference import numerical_grad
from llm_jax.autodiff.forward import hvp, jvp
from llm_jax.autodiff.functions import gelu, layer_norm, log_softmax, logsumexp, relu, softmax
from llm_jax.autodiff.graph import Node, backward, pull_back, push_forward, topological_order
from llm_jax.autodiff.reverse import grad, value_and_grad
from llm_jax.autodiff.scalar import Scalar, weighted_sum
from llm_jax.autodiff.tensor import Tensor

__all__ = [
    "Node",
    "Scalar",
    "Tensor",
    "backward",
    "draw",
    "gelu",
    "grad",
    "hvp",
    "jvp",
    "layer_norm",
    "log_softmax",
    "logsumexp",
    "numerical_grad",
    "pull_back",
    "push_forward",
    "relu",
    "softmax",
    "topological_order",
    "value_and_grad",
    "weighted_sum",
]
