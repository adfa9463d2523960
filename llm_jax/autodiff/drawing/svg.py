"""`draw` draws a graph, with the value of every node and the derivative of the output with respect to it.

The edges of a scalar graph are labelled with the local derivatives, so that one can follow the chain rule: the
derivative at a node is the sum, over its outgoing edges, of the edge's number times the derivative at the edge's end.
The drawing is SVG, which Jupyter displays; Graphviz is not needed.
"""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from llm_jax import files
from llm_jax.autodiff.drawing.layout import Layout, layered
from llm_jax.autodiff.graph import Node, check_one_number, pull_back, topological_order
from llm_jax.autodiff.quiet import quiet
from llm_jax.autodiff.rules.jacobian import Jacobian

MOST_NODES = 200
SYMBOLS = {"add": "+", "subtract": "−", "multiply": "×", "divide": "÷", "negative": "−", "power": "^", "matmul": "@"}

CHARACTER, LINE, PADDING = 7.3, 16.0, 9.0  # pixels
CARD = 3 * LINE + 2 * PADDING - 4
ROW, GAP, MARGIN, PORT = CARD + 14, 78.0, 16.0, 18.0

STYLE = """
text { font: 12px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #1f2933; }
.title { font-weight: bold; } .derivative { fill: #b4410e; }
.local { fill: #52606d; text-anchor: end; stroke: #ffffff; stroke-width: 8px; paint-order: stroke; }
.paper { fill: #ffffff; } .edge { fill: none; stroke: #9aa5b1; stroke-width: 1.3; }
.operation { fill: #f7f8f9; stroke: #9aa5b1; } .input { fill: #eaf3ff; stroke: #3d7dd8; }
.output { fill: #fff4dc; stroke: #d08a10; }
"""


class Drawing:
    """A drawing as SVG text (`str(drawing)`). Jupyter displays it; `save` writes it to a file."""

    def __init__(self, svg: str):
        self._svg = svg

    def _repr_svg_(self) -> str:
        return self._svg

    __str__ = _repr_svg_

    def save(self, path: str | Path) -> None:
        files.write(Path(path), self._svg)


def draw(output: Node, /, **names: Node) -> Drawing:
    """Draws the graph that leads to `output`, from left to right; `draw(loss, w=w, b=b)` names nodes.

    The box of a node shows the operation, the value, and after ∂ the derivative of the output with respect to the node.
    Of an array with more than three elements it shows the Euclidean norm ‖·‖.

    Raises:
        ValueError: more than 200 nodes, a name for a node outside the graph, or an output that is not one number.
    """
    check_one_number(output)
    order = topological_order([output])
    if len(order) > MOST_NODES:
        raise ValueError(
            f"draw: nobody can read a picture of {len(order):,} nodes: draw a smaller example (up to {MOST_NODES})"
        )
    for name, node in names.items():
        if not any(node is other for other in order):
            raise ValueError(f"draw: {name!r} has no influence on the output, so it is not in the picture")
    with quiet():
        gradients = pull_back(output, output.one)
    labels = {node: name for name, node in names.items()}
    texts = {node: _card_text(node, labels.get(node, ""), gradients[node]) for node in order}
    paper = _Paper.for_cards(layered(order, lambda node: node.parents), texts)
    edges = [paper.edges_into(node) for node in order]
    kinds = {node: "operation" if node.parents else "input" for node in order} | {output: "output"}
    return Drawing(paper.finish(edges + [paper.card(node, texts[node], kinds[node]) for node in order]))


def _card_text(node: Node, name: str, derivative: Any) -> list[str]:
    symbol = SYMBOLS.get(node.operation, node.operation)
    shape = f"({'×'.join(map(str, node.shape))})" if node.shape else ""
    title = " ".join(filter(None, [name, "=" if name and symbol else "", symbol, shape]))
    return [title, _brief(node.value), f"∂ {_brief(derivative)}"]


def _brief(value: Any) -> str:
    array = np.asarray(value)
    if array.size > 3:
        return f"‖·‖ {np.linalg.norm(array):.4g}"
    return " ".join(_digits(x, 4) for x in array.ravel())


def _digits(x: float, count: int) -> str:
    return f"{x:.{count}g}".replace("-", "−")


@dataclass(frozen=True)
class _Paper:
    """The layout in pixels, and the SVG elements placed on it."""

    layout: Layout
    left: list[float]  # of every column of cards
    width: list[float]

    @classmethod
    def for_cards(cls, layout: Layout, texts: dict[Node, list[str]]) -> "_Paper":
        width = [0.0] * (1 + max(layer for layer, _ in layout.positions.values()))
        for node, (layer, _) in layout.positions.items():
            width[layer] = max(width[layer], CHARACTER * max(map(len, texts[node])) + 2 * PADDING)
        left = [MARGIN + sum(width[:layer]) + GAP * layer for layer in range(len(width))]
        return cls(layout, left, width)

    def card(self, node: Node, text: list[str], kind: str) -> str:
        layer, row = self.layout.positions[node]
        x, top, width = self.left[layer], self.y(row) - CARD / 2, self.width[layer]
        card = f'<rect class="{kind}" x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{CARD:.1f}" rx="6"/>'
        for i, style in enumerate(("title", "value", "derivative")):
            baseline = top + PADDING + LINE * (i + 0.65)
            card += f'<text class="{style}" x="{x + PADDING:.1f}" y="{baseline:.1f}">{escape(text[i])}</text>'
        return card

    def edges_into(self, child: Node) -> str:
        """The edges from a node's parents, ending one below the other, each with its local derivative."""
        routes = {parent: self.layout.routes[parent, child] for parent in child.parents}
        elements = ""
        for i, (parent, route) in enumerate(sorted(routes.items(), key=lambda item: item[1][-2][1])):
            arrival = self.y(route[-1][1]) + PORT * (i - (len(routes) - 1) / 2)
            elements += f'<path class="edge" d="{self.curve(route, arrival)}"/>'
            local = [j for p, j in zip(child.parents, child.jacobians, strict=True) if p is parent]
            if not any(isinstance(j, Jacobian) for j in local):
                x, label = self.left[route[-1][0]] - 4, " + ".join(_digits(j, 3) for j in local)
                elements += f'<text class="local" x="{x:.1f}" y="{arrival + 4:.1f}">{label}</text>'
        return elements

    def curve(self, route: list[tuple[int, float]], arrival: float) -> str:
        """A path from the right side of the first box to the left of the last, straight through the columns between."""
        first, last = route[0][0], route[-1][0]
        x, y = self.left[first] + self.width[first], self.y(route[0][1])
        path = f"M{x:.1f} {y:.1f}"
        for layer, row in route[1:]:
            x_next, y_next = self.left[layer], arrival if layer == last else self.y(row)
            middle = x + (x_next - x) * 0.4
            path += f"C{middle:.1f} {y:.1f} {middle:.1f} {y_next:.1f} {x_next:.1f} {y_next:.1f}"
            x, y = x_next + self.width[layer], y_next
            if layer != last:
                path += f"H{x:.1f}"
        return path

    def y(self, row: float) -> float:
        return MARGIN + CARD / 2 + row * ROW

    def finish(self, elements: list[str]) -> str:
        lowest = max(
            row for route in [*self.layout.routes.values(), [*self.layout.positions.values()]] for _, row in route
        )
        width, height = self.left[-1] + self.width[-1] + MARGIN, self.y(lowest) + CARD / 2 + MARGIN
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}"><style>{STYLE}</style>'
            f'<rect class="paper" width="100%" height="100%"/>{"".join(elements)}</svg>'
        )
