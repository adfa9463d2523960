"""Draws a graph: `layout` computes the positions of the nodes, `svg` draws them."""

from llm_jax.autodiff.drawing.svg import draw

__all__ = ["draw"]
