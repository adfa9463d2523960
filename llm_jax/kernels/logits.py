"""Logits of few rows as (W·hᵀ)ᵀ, for decoding.

A decoding step reads the whole head for a few rows. A CPU does that faster as W·hᵀ, transposed afterwards: 24.3 → 21.7
ms a step with 8 rows (together with the argmax of `decode/choose.py`), two cores with AVX-512, `benchmarks/decode.py`.
With more rows, as in training and evaluation, the formula computes the logits.
"""

import jax
import jax.numpy as jnp

from llm_jax.kernels.narrow import Int8Rows, bfloat16_product, int8_product
from llm_jax.layers.loss import logits_of, without_padding
from llm_jax.shapes import Array, Float

MOST_ROWS = 64  # a decoding step's batch, never a training step's


def logits_of_few(
    hidden: Float[Array, "*rest D"], head_VD: Float[Array, "V D"] | Int8Rows, vocab_size: int
) -> Float[Array, "*rest V"]:
    """h·Wᵀ in float32, −∞ in the columns that pad the vocabulary. The head may be stored in fewer bits (`narrow`)."""
    if isinstance(head_VD, Int8Rows):
        return without_padding(int8_product(hidden, head_VD.weight, head_VD.scale), vocab_size)
    if head_VD.dtype == jnp.bfloat16 and hidden.dtype == jnp.float32:
        return without_padding(bfloat16_product(hidden, head_VD), vocab_size)
    if hidden.size > MOST_ROWS * hidden.shape[-1]:
        return logits_of(hidden, head_VD, vocab_size)
    transposed = jnp.einsum("VD,...D->V...", head_VD.astype(hidden.dtype), hidden, preferred_element_type=jnp.float32)
    # The barrier keeps XLA from fusing the transpose into the product.
    return without_padding(jnp.moveaxis(jax.lax.optimization_barrier(transposed), 0, -1), vocab_size)
