"""The graph of a computation, and its traversal in reverse mode and forward mode.

Every operation creates a node that holds its value, its parents, and one Jacobian per parent: the derivative of this
node with respect to that parent, at the values of this computation. By the chain rule, the derivative along a path is
the product of the Jacobians on its edges, and the derivative of one node with respect to another is the sum over all
paths between them. Reverse mode sums over these paths from the output to the inputs: one traversal gives the
derivatives with respect to all inputs. Forward mode sums from the inputs to the outputs: one traversal gives the
derivatives of all outputs along one direction (Griewank & Walther, Evaluating Derivatives, 2008, ch. 3).

A Jacobian is anything that can be multiplied: `gradient * jacobian` is a row vector times a matrix (reverse mode) and
`jacobian * tangent` a matrix times a column vector (forward mode). For `Scalar` it is a plain number and both are the
same; for `Tensor` it is a `jacobian.Jacobian`, which never builds the matrix. So both engines share the two functions
below.

Gradients are returned and not stored in the nodes. So a second call gives the same result, and nothing has to be reset
between two steps of training.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from llm_jax.autodiff.quiet import quiet


class Node:
    """One value of a computation. Immutable, compared by identity; a node without parents is an input (a leaf)."""

    __slots__ = ("jacobians", "operation", "parents", "value")

    value: Any
    operation: str
    parents: "tuple[Node, ...]"
    jacobians: tuple[Any, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    @property
    def belongs_to_a_derivative(self) -> bool:
        """Whether `grad` or `jvp` created it, and not a user."""
        return False

    @property
    def one(self) -> Any:
        """∂self/∂self, in the precision of the value: what reverse mode starts with."""
        return 1.0


def topological_order(outputs: Iterable[Node]) -> list[Node]:
    """`outputs` and all their ancestors, every node after its parents.

    Depth-first search with an explicit stack, because a graph may be deeper than Python's recursion limit.
    """
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[Node | None] = list(outputs)
    while stack:
        node = stack.pop()
        if node is None:  # the marker pushed below: all parents of the next node on the stack are in `order`
            order.append(stack.pop())  # pyright: ignore[reportArgumentType]
        elif node not in seen:
            seen.add(node)
            if node.parents:
                stack += (node, None, *node.parents)
            else:
                order.append(node)
    return order


def pull_back(output: Node, cotangent: Any) -> dict[Node, Any]:
    """Reverse mode: cotangent · ∂output/∂node for every ancestor of `output`. `cotangent` has the output's shape."""
    order = topological_order([output])
    gradients: dict[Node, Any] = dict.fromkeys(order, 0.0)
    gradients[output] = cotangent
    for node in reversed(order):
        gradient = gradients[node]
        for parent, jacobian in zip(node.parents, node.jacobians):  # noqa: B905 (strict would cost a third of the time)
            # A node that is used twice gets both gradients. Not `+=`, which would change an array that others share.
            gradients[parent] = gradients[parent] + gradient * jacobian
    return gradients


def push_forward(outputs: Iterable[Node], tangents: Mapping[Any, Any]) -> dict[Any, Any]:
    """Forward mode: the derivative of every ancestor of `outputs` along the direction `tangents` (leaf → direction).

    Nodes that do not depend on a leaf in `tangents` are absent from the result.
    """
    derivatives = dict(tangents)
    for node in topological_order(outputs):
        contributions = [
            jacobian * derivatives[parent]
            for parent, jacobian in zip(node.parents, node.jacobians, strict=True)
            if parent in derivatives
        ]
        if contributions:
            derivatives[node] = sum(contributions[1:], start=contributions[0])
    return derivatives


def backward(output: Node) -> dict[Node, Any]:
    """∂output/∂node for every ancestor of `output`, which must be one number.

    Raises:
        TypeError: `output` is not a node, or belongs to a `grad` or `jvp` in progress.
        ValueError: `output` is not one number.

    >>> from llm_jax.autodiff import Scalar
    >>> a = Scalar(3.0)
    >>> backward(a * a + a)[a]
    7.0
    """
    check_one_number(output)
    if output.belongs_to_a_derivative:  # the outer derivative would treat the gradients returned here as constants
        raise TypeError("backward inside grad or jvp cannot be differentiated: use grad or value_and_grad instead")
    with quiet():
        return pull_back(output, output.one)


def check_one_number(output: Any) -> None:
    """Checks that reverse mode can start from `output`.

    Raises:
        TypeError: it is not a node.
        ValueError: it is not one number.
    """
    if not isinstance(output, Node):
        raise TypeError(f"backward needs a recorded node; got {type(output).__name__}, which has no history")
    if output.shape != ():
        raise ValueError(
            f"backward starts from one number; {output.operation or 'the leaf'} has shape {output.shape}: "
            "reduce it first, for example with np.sum or np.mean"
        )
