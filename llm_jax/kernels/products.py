"""xᵀ·y summed over all tokens, in float32 or wider: the gradient of every weight matrix.

On a CPU the product needs a transpose: of x, or else of y and of the result. XLA does not choose by size.
`transposed_product` transposes the smaller of the two, behind a barrier that keeps XLA from fusing the transpose into
the product. In a training step such products ran at 48 GFLOP/s per core; in this form, alone, at 73 to 103 (two AVX-512
cores). A GPU reads operands in either order and needs no transpose: it uses `summed_product`.
"""

import jax
import jax.numpy as jnp

from llm_jax.shapes import Array, Float


def summed_product(x: Float[Array, "*rest inputs"], y: Float[Array, "*rest outputs"]) -> Float[Array, "inputs outputs"]:
    """xᵀ·y as one product."""
    x, y = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    return jnp.einsum("ti,to->io", x, y, preferred_element_type=jnp.promote_types(x.dtype, jnp.float32))


def transposed_product(
    x: Float[Array, "*rest inputs"], y: Float[Array, "*rest outputs"]
) -> Float[Array, "inputs outputs"]:
    """xᵀ·y, or (yᵀ·x)ᵀ where that transposes fewer numbers."""
    x, y = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    if x.size <= y.size + x.shape[-1] * y.shape[-1]:
        return summed_product(x, y)
    return jax.lax.optimization_barrier(summed_product(y, x)).T
