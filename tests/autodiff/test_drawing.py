"""The picture of a graph: complete, readable, valid."""

import re
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest

from llm_jax.autodiff import Scalar, Tensor, draw
from llm_jax.autodiff.drawing.layout import layered

SVG = "{http://www.w3.org/2000/svg}"


def texts(drawing, kind):
    return [e.text for e in ElementTree.fromstring(str(drawing)).iter(f"{SVG}text") if e.get("class") == kind]


def test_every_node_shows_operation_value_and_derivative():
    a, b = Scalar(2.0), Scalar(-3.0)
    picture = draw(a * b + a, a=a, b=b)
    assert sorted(texts(picture, "title")) == ["+", "a", "b", "×"]
    assert sorted(texts(picture, "value")) == sorted(["2", "−3", "−6", "−4"])
    assert sorted(texts(picture, "derivative")) == sorted(["∂ −2", "∂ 2", "∂ 1", "∂ 1"])


def test_edges_show_local_derivatives_and_both_of_a_node_used_twice():
    a = Scalar(3.0)
    assert texts(draw(a * a), "local") == ["3 + 3"]


def test_derivatives_are_the_sum_over_outgoing_edges():
    """What the reader is told to follow with a finger."""
    a, b = Scalar(2.0), Scalar(-3.0)
    product = a * b
    picture = str(draw(product * a, a=a, b=b))
    assert "∂ −12" in picture  # of a: −6 · 1 + (−3) · 2


def test_arrays_show_their_shape():
    w = Tensor(np.ones((2, 5)))
    picture = draw(np.sum(w @ np.ones(5)), w=w)
    assert "w (2×5)" in texts(picture, "title")
    assert "‖·‖ 3.162" in texts(picture, "value")


def test_jupyter_and_file_get_the_same_valid_svg(tmp_path):
    picture = draw(Scalar(1.0) + 1)
    picture.save(tmp_path / "graph.svg")
    assert (tmp_path / "graph.svg").read_text("utf-8") == picture._repr_svg_() == str(picture)
    assert [p.name for p in tmp_path.iterdir()] == ["graph.svg"]
    root = ElementTree.fromstring(str(picture))
    assert root.tag == f"{SVG}svg"


def test_a_node_may_have_any_name():
    a = Scalar(1.0)
    assert texts(draw(a, output=a), "title") == ["output"]


def test_names_are_escaped():
    a = Scalar(1.0)
    assert texts(draw(a + 1, **{"a<b & c": a}), "title") == ["a<b & c", "+"]


def test_cards_do_not_overlap():
    rng = np.random.default_rng(0)
    nodes = [Scalar(float(i)) for i in range(4)]
    for _ in range(40):
        i, j = rng.integers(len(nodes), size=2)
        nodes.append((nodes[i] + nodes[j]).tanh() * 0.5)
    picture = draw(sum(nodes[4:], start=nodes[3]))
    cards = [
        tuple(float(rect.get(side)) for side in ("x", "y", "width", "height"))
        for rect in ElementTree.fromstring(str(picture)).iter(f"{SVG}rect")
        if rect.get("class") != "paper"
    ]
    assert len(cards) > 100
    for (x, y, w, h), (x2, y2, w2, h2) in combinations(cards, 2):
        assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 + 0.1 or y2 + h2 <= y + 0.1
    width, height = map(float, re.search(r'viewBox="0 0 (\d+) (\d+)"', str(picture)).groups())
    assert all(x >= 0 and x + w <= width and y >= 0 and y + h <= height for x, y, w, h in cards)


def test_layers_run_from_parents_to_children_and_inputs_stand_beside_their_first_use():
    parents = {"a": [], "b": [], "c": ["a"], "d": ["c"], "e": ["d", "b", "b"]}
    layout = layered(list(parents), parents.__getitem__)
    assert {node: layer for node, (layer, _) in layout.positions.items()} == {"a": 0, "c": 1, "d": 2, "b": 2, "e": 3}
    assert set(layout.routes) == {("a", "c"), ("c", "d"), ("d", "e"), ("b", "e")}


def test_two_parallel_chains_do_not_cross():
    parents = {"a": [], "b": [], "a1": ["a"], "b1": ["b"], "b2": ["b1"], "a2": ["a1"], "end": ["b2", "a2"]}
    rows = {node: row for node, (_, row) in layered(list(parents), parents.__getitem__).positions.items()}
    above = rows["a"] < rows["b"]
    assert (rows["a1"] < rows["b1"]) == (rows["a2"] < rows["b2"]) == above


def test_mistakes_are_named():
    a, stranger = Scalar(1.0), Scalar(2.0)
    with pytest.raises(ValueError, match="'x' has no influence on the output"):
        draw(a + 1, x=stranger)
    with pytest.raises(ValueError, match=r"one number; multiply has shape \(2,\)"):
        draw(Tensor([1.0, 2.0]) * 2)
    for _ in range(200):
        a = a + 1
    with pytest.raises(ValueError, match="a picture of 201 nodes: draw a smaller"):
        draw(a)
