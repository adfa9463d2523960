"""The residual stream's layout in a GPU's memory: a token's D numbers side by side.

XLA would put the batch innermost, where the sum over it that makes the positions' gradient wants it, and transpose the
stream at every norm, in float32, and back at every product (seen in the compiled step, `benchmarks/gpu_compiled.py`).
"""

from jax.experimental.layout import Layout, with_layout_constraint

from llm_jax.shapes import Array, Float


def width_innermost(x_BTD: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
    return with_layout_constraint(x_BTD, Layout(major_to_minor=(0, 1, 2)))
