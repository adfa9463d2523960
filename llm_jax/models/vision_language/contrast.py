"""Contrastive training of pictures and words (CLIP, Radford et al. 2021, figure 3): each picture finds its own text.

Of a batch of pairs, the cosine of a picture with its own text shall exceed that with every other text, and the cosine
of a text with its own picture that with every other picture. Equal texts are not compared with each other: otherwise
the loss would ask that "red 7" be unlike "red 7".
"""

import jax
import jax.numpy as jnp

from llm_jax.models.encoder.pooling import normalise
from llm_jax.shapes import Array, Bool, Float, Int


def loss(
    pictures_BD: Float[Array, "B D"],
    texts_BD: Float[Array, "B D"],
    same_B: Int[Array, "B"],
    is_known_B: Bool[Array, "B"],
    log_scale: Float[Array, ""],
) -> Float[Array, ""]:
    """The mean cross-entropy of both directions, in nats; pairs with equal `same_B` have the same text.

    A pair that is not `is_known_B` counts nowhere: nobody knows its text.
    """
    cosine_BB = normalise(pictures_BD) @ normalise(texts_BD).T
    scores_BB = jnp.exp(log_scale) * cosine_BB
    is_compared_BB = (same_B[:, None] != same_B) & is_known_B & is_known_B[:, None] | jnp.eye(len(same_B), dtype=bool)
    scores_BB = jnp.where(is_compared_BB, scores_BB, -jnp.inf)
    losses_B = (jax.nn.logsumexp(scores_BB, axis=1) + jax.nn.logsumexp(scores_BB, axis=0)) / 2
    return jnp.where(is_known_B, losses_B - jnp.diagonal(scores_BB), 0).sum() / jnp.maximum(is_known_B.sum(), 1)
