"""The contrastive loss: a text finds its partner among all partners of the batch (van den Oord et al. 2018, InfoNCE).

Of a batch of pairs, row i's partner is column i of the matrix of cosines, and every other column is a negative. The
loss is the cross-entropy of that choice, taken in both directions (Radford et al. 2021, CLIP).
"""

import jax
import jax.numpy as jnp

from llm_jax.models.encoder.pooling import normalise
from llm_jax.shapes import Array, Bool, Float


def in_batch(
    a_BD: Float[Array, "B D"],
    b_BD: Float[Array, "B D"],
    temperature: float,
    is_other_BB: Bool[Array, "B B"] | None = None,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Σ loss in nats over both directions of the batch, and how many choices were made: 2·B.

    `is_other_BB` is False where a column is no negative of its row, because the two texts are the same.
    """
    scores_BB = normalise(a_BD) @ normalise(b_BD).T / temperature
    if is_other_BB is not None:
        scores_BB = jnp.where(is_other_BB | jnp.eye(len(a_BD), dtype=bool), scores_BB, -jnp.inf)
    right_B = jnp.arange(len(a_BD))
    losses = [-jax.nn.log_softmax(scores, axis=1)[right_B, right_B] for scores in (scores_BB, scores_BB.T)]
    return jnp.sum(jnp.stack(losses)), jnp.float32(2 * len(a_BD))


def graded(
    a_BD: Float[Array, "B D"], b_BD: Float[Array, "B D"], similarity_B: Float[Array, "B"], temperature: float
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """log(1 + Σ exp((cos of the less similar pair − cos of the more similar one)/τ)) and 1 (CoSENT; Su 2022).

    Of every two pairs of texts in the batch, the one that people find more similar shall have the larger cosine. That
    is what a rank correlation measures.
    """
    cosine_B = (normalise(a_BD) * normalise(b_BD)).sum(axis=1)
    differences_BB = (cosine_B[:, None] - cosine_B[None, :]) / temperature
    is_reversed_BB = similarity_B[:, None] < similarity_B[None, :]
    logits = jnp.where(is_reversed_BB, differences_BB, -jnp.inf).reshape(-1)
    return jax.nn.logsumexp(jnp.concatenate([jnp.zeros(1), logits])), jnp.float32(1)
