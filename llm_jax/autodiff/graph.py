"""The graph of a computation, and the two ways to walk it.

Every operation leaves a node that holds its value, its parents, and one Jacobian per parent: the derivative of this
node with respect to that parent, at the values of this computation. The chain rule then says that the derivative
along a path is the product of the Jacobians on its edges, and the derivative of one node with respect to another is
the sum over all paths between them. Reverse mode sums those paths from the output back (one walk for all inputs),
forward mode from the inputs on (one walk for all outputs): the same edges, walked in opposite directions
(Griewank & Walther, Evaluating Derivatives, 2008, ch. 3).

A Jacobian is anything that can be multiplied: `gradient * jacobian` is a row vector times a matrix (reverse mode) and
`jacobian * tangent` a matrix times a column vector (forward mode). For `Scalar` it is a plain number and both are the
same; for `Tensor` it is a `jacobian.Jacobian` that never builds the matrix. So the two walks below serve both engines.

Gradients are not stored in the nodes but returned, so walking twice gives the same answer twice, and there is nothing
to reset between two steps of training.
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
        """Made by `grad` or `jvp`, not by hand."""
        return False

    @property
    def one(self) -> Any:
        """∂self/∂self, in the precision of the value: what reverse mode starts with."""
        return 1.0


def topological_order(outputs: Iterable[Node]) -> list[Node]:
    """All ancestors of `outputs` and these themselves, every node after its parents.

    Depth-first with a stack of its own: a graph may be deeper than Python's recursion limit.
    """
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[Node | None] = list(outputs)
    while stack:
        node = stack.pop()
        if node is None:  # the marker pushed below: all parents of the node under it are in `order`
            order.append(stack.pop())  # pyright: ignore[reportArgumentType]
        elif node not in seen:
            seen.add(node)
            if node.parents:
                stack += (node, None, *node.parents)
            else:
                order.append(node)
    return order


def pull_back(output: Node, cotangent: Any) -> dict[Node, Any]:
    """Reverse mode: cotangent · ∂output/∂node for every ancestor of `output`; `cotangent` has the output's shape."""
    order = topological_order([output])
    gradients: dict[Node, Any] = dict.fromkeys(order, 0.0)
    gradients[output] = cotangent
    for node in reversed(order):
        gradient = gradients[node]
        for parent, jacobian in zip(node.parents, node.jacobians):  # noqa: B905 (strict would cost a third of the walk)
            # A node used twice collects from both uses. Not `+=`: that writes into an array others may hold too.
            gradients[parent] = gradients[parent] + gradient * jacobian
    return gradients


def push_forward(outputs: Iterable[Node], tangents: Mapping[Any, Any]) -> dict[Any, Any]:
    """Forward mode: the derivative of every ancestor of `outputs` along the direction `tangents` (leaf → direction).

    Nodes that do not depend on a leaf named in `tangents` are absent from the answer.
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

    >>> from llm_jax.autodiff import Scalar
    >>> a = Scalar(3.0)
    >>> backward(a * a + a)[a]
    7.0
    """
    check_one_number(output)
    if output.belongs_to_a_derivative:  # the gradients returned here would be constants to it
        raise TypeError(
            "backward inside grad or jvp has no derivative of its own: use grad or value_and_grad there, too"
        )
    with quiet():
        return pull_back(output, output.one)


def check_one_number(output: Any) -> None:
    """Raises unless reverse mode can start from `output`."""
    if not isinstance(output, Node):
        raise TypeError(f"backward needs a recorded node; got {type(output).__name__}, which has no history")
    if output.shape != ():
        raise ValueError(
            f"backward starts from one number; {output.operation or 'the leaf'} has shape {output.shape}: "
            "reduce it first, for example with np.sum or np.mean"
        )
