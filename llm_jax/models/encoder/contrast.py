"""The contrastive loss of pairs with a graded similarity (CoSENT; Su 2022).

Every pair of a batch is compared with every other one. The loss falls when the pair that people find more similar has
the larger cosine, which is what a rank correlation measures.
"""

import jax
import jax.numpy as jnp

from llm_jax.models.encoder.pooling import normalise
from llm_jax.shapes import Array, Float


def graded(
    a_BD: Float[Array, "B D"], b_BD: Float[Array, "B D"], similarity_B: Float[Array, "B"], temperature: float
) -> Float[Array, ""]:
    """log(1 + Σ exp((cosine of the less similar pair − cosine of the more similar one)/τ)), in nats."""
    cosine_B = (normalise(a_BD) * normalise(b_BD)).sum(axis=1)
    differences_BB = (cosine_B[:, None] - cosine_B[None, :]) / temperature
    is_less_similar_BB = similarity_B[:, None] < similarity_B[None, :]
    exponents = jnp.where(is_less_similar_BB, differences_BB, -jnp.inf).reshape(-1)
    return jax.nn.logsumexp(jnp.concatenate([jnp.zeros(1), exponents]))
