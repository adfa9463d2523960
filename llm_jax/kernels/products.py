"""xᵀ·y summed over all tokens, in float32 at least: the gradient of every weight matrix.

On a CPU one of three arrays must be transposed: x, or y and the result. XLA takes no account of their sizes;
`transposed_product` transposes the smaller side, behind a barrier that keeps XLA from moving the transpose into the
product. In a training step such products ran at 48 GFLOP/s a core; written this way, alone, at 73 to 103 (two AVX-512
cores). A GPU's products read either way: it gets the plain sum.
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
    """xᵀ·y, or (yᵀ·x)ᵀ where that transposes less."""
    x, y = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    if x.size <= y.size + x.shape[-1] * y.shape[-1]:
        return summed_product(x, y)
    return jax.lax.optimization_barrier(summed_product(y, x)).T
