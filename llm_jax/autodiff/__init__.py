"""Automatic differentiation from scratch. Read in this order, each file adds one idea:

graph              a computation as a graph, and the chain rule as two ways to walk it
scalar             an engine for single numbers
rules/             the derivative of each operation on arrays
  jacobian         derivatives of arrays without the matrix
  elementwise      exp, tanh, x·y, …: the derivatives of a calculus book
  linear           sum, matmul, indexing, …: forward mode applies the operation itself, reverse mode its transpose
  reductions       the largest element, and the product
  einsum           any sum of products, by letters; its transpose is another einsum
arrays/            an engine for functions written in NumPy
  tensor           the array that records the operations applied to it
  methods          t.sum(), …
  registry         which NumPy functions the engine knows
  numpy_functions  NumPy's names and arguments for the operations that have a rule
  composed         mean, std, split, …: composed of the operations above, so they need no rules
  functions        relu, softmax, layer norm, …: what neural networks use
  frozen           recorded values are read-only
tracing            replaces the leaves of any pytree of arguments by Tensors
reverse            value_and_grad and grad
forward            jvp, and hvp for curvature
quiet              ∞ and nan without NumPy's warnings
finite_difference  numerical derivatives, to check all others
drawing/           draws the graph
by_hand/           the gradients of the layers of neural networks, derived with pen and paper
"""

from llm_jax.autodiff.arrays import composed, functions  # noqa: F401 (registers composed and numpy_functions)
from llm_jax.autodiff.arrays.functions import gelu, layer_norm, log_softmax, logsumexp, relu, softmax
from llm_jax.autodiff.arrays.tensor import Tensor
from llm_jax.autodiff.drawing import draw
from llm_jax.autodiff.finite_difference import numerical_grad
from llm_jax.autodiff.forward import hvp, jvp
from llm_jax.autodiff.graph import Node, backward, pull_back, push_forward, topological_order
from llm_jax.autodiff.reverse import grad, value_and_grad
from llm_jax.autodiff.rules import linear
from llm_jax.autodiff.scalar import Scalar, weighted_sum

__all__ = [
    "Node",
    "Scalar",
    "Tensor",
    "backward",
    "draw",
    "functions",
    "gelu",
    "grad",
    "hvp",
    "jvp",
    "layer_norm",
    "linear",
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
