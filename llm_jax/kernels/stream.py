"""The residual stream's layout in a GPU's memory: the D numbers of a token are contiguous.

Left to itself, XLA makes the batch the innermost dimension, because the gradient of the position embedding sums over
the batch. It then transposes the stream at every norm, in float32, and back at every product, as the compiled step for
an H200 shows (`benchmarks/gpu_compiled.py`; the gain of this and three other kernels together is in `gelu`).
"""

from jax.experimental.layout import Layout, with_layout_constraint

from llm_jax.shapes import Array, Float


def width_innermost(x_BTD: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
    return with_layout_constraint(x_BTD, Layout(major_to_minor=(0, 1, 2)))
