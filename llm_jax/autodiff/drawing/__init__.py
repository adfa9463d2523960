"""A picture of a graph: `layout` places the nodes, `svg` draws them."""

from llm_jax.autodiff.drawing.svg import draw

__all__ = ["draw"]
