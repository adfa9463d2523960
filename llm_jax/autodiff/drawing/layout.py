"""Positions of a graph's nodes: layers from left to right, with few crossings of edges.

After Sugiyama, Tagawa & Toda (1981), in three steps. A node's layer is the length of the longest path to it. Within a
layer, nodes are sorted by the mean position of their neighbours, in several sweeps in both directions. Then each node
moves towards its neighbours as far as the other nodes of its layer leave room. An edge over several layers passes
through an invisible node in each, which keeps it away from the nodes between.

Left out: the exact optimum of any step. Each is NP-hard or a linear program, and graphs worth drawing are small.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

SWEEPS = 8


@dataclass(frozen=True)
class Layout:
    """The position of every node, as (layer, row), and the points through which every edge passes, ends included."""

    positions: dict[Any, tuple[int, float]]
    routes: dict[tuple[Any, Any], list[tuple[int, float]]]


@dataclass(eq=False)
class _Place:
    """A node, or a point that an edge passes on its way through a layer."""

    layer: int
    height: float = 1.0  # rows it takes up
    row: float = 0.0
    before: "list[_Place]" = field(default_factory=list)
    after: "list[_Place]" = field(default_factory=list)


def layered(order: Sequence[Any], parents: Callable[[Any], Sequence[Any]]) -> Layout:
    """Lays out a graph given as its nodes in topological order.

    Args:
        order: nodes, parents before children.
        parents: the parents of a node; one that occurs twice is drawn as one edge.
    """
    layers: dict[Any, int] = {}
    for node in order:
        layers[node] = max((layers[p] + 1 for p in parents(node)), default=0)
    first_use: dict[Any, int] = {}
    for node in order:
        for parent in parents(node):
            if not parents(parent):
                first_use[parent] = min(first_use.get(parent, layers[node]), layers[node])
    # An input is placed in the layer before its first use.
    layers |= {node: layer - 1 for node, layer in first_use.items()}
    places = {node: _Place(layers[node]) for node in order}
    chains = {(p, node): _connect(places[p], places[node]) for node in order for p in dict.fromkeys(parents(node))}
    columns: list[list[_Place]] = [[] for _ in range(max(layers.values()) + 1)]
    for place in dict.fromkeys([*places.values(), *(place for chain in chains.values() for place in chain)]):
        columns[place.layer].append(place)
    _order_columns(columns)
    _assign_rows(columns)
    return Layout(
        positions={node: (place.layer, place.row) for node, place in places.items()},
        routes={edge: [(place.layer, place.row) for place in chain] for edge, chain in chains.items()},
    )


def _connect(start: _Place, end: _Place) -> list[_Place]:
    """The places through which an edge passes, one in each layer, with start and end."""
    chain = [start, *(_Place(layer, height=0.5) for layer in range(start.layer + 1, end.layer)), end]
    for left, right in pairwise(chain):
        left.after.append(right)
        right.before.append(left)
    return chain


def _order_columns(columns: list[list[_Place]]) -> None:
    """Sorts every column by the mean row of its neighbours, alternating between those before and those after."""
    for column in columns:
        _stack(column)
    for sweep in range(SWEEPS):
        is_forward = sweep % 2 == 0
        for column in columns if is_forward else reversed(columns):
            column.sort(key=lambda place: _mean_row(place.before if is_forward else place.after, place.row))
            _stack(column)


def _assign_rows(columns: list[list[_Place]]) -> None:
    """Moves every place towards the mean row of its neighbours. The order within a column does not change."""
    for sweep in range(2 * SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            targets = [_mean_row(place.before + place.after, place.row) for place in column]
            _place_in_order(column, targets)
    top = min(place.row for column in columns for place in column)
    for column in columns:
        for place in column:
            place.row -= top


def _place_in_order(column: list[_Place], targets: list[float]) -> None:
    """Sets the rows closest to `targets` (least squares) that keep the order and the distances.

    Neighbours whose targets collide form a block. A block moves as one, to the mean of its members' targets.
    """
    blocks: list[list[tuple[_Place, float, float]]] = []  # members: place, target, distance from the block's first
    for place, target in zip(column, targets, strict=True):
        blocks.append([(place, target, 0.0)])
        while len(blocks) > 1:
            upper, lower = blocks[-2:]
            last, _, distance = upper[-1]
            shift = distance + (last.height + lower[0][0].height) / 2
            if _first_row(lower) >= _first_row(upper) + shift:
                break
            blocks[-2:] = [upper + [(member, its_target, shift + d) for member, its_target, d in lower]]
    for block in blocks:
        first = _first_row(block)
        for place, _, distance in block:
            place.row = first + distance


def _first_row(block: list[tuple[_Place, float, float]]) -> float:
    return sum(target - distance for _, target, distance in block) / len(block)


def _stack(column: list[_Place]) -> None:
    """Places a column's members one below the other, centred on row 0."""
    row = -sum(place.height for place in column) / 2
    for place in column:
        place.row = row + place.height / 2
        row += place.height


def _mean_row(neighbours: list[_Place], default: float) -> float:
    return sum(place.row for place in neighbours) / len(neighbours) if neighbours else default
