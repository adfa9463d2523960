"""A prompt with pictures for decoding: placeholders spread to one a patch, and the embeddings of the whole prompt."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp

from llm_jax.kernels.plan import Plan
from llm_jax.models import decoder
from llm_jax.models.vision_language.config import VisionLanguageConfig
from llm_jax.models.vision_language.forward import embed, features, project
from llm_jax.models.vision_language.parameters import Projector, Tower
from llm_jax.models.vision_language.tower import normalised
from llm_jax.shapes import Array, Float, Int, UInt


def spread(tokens: Sequence[int], n_pictures: int, config: VisionLanguageConfig) -> list[int]:
    """The prompt with as many placeholders for each picture as it has patches, where it had one.

    Raises:
        ValueError: it has not one placeholder for each picture, as where a text spells the placeholder.
    """
    found = list(tokens).count(config.image_token)
    if found != n_pictures:
        raise ValueError(
            f"the prompt has {found} placeholders for {n_pictures} pictures: a message's text must not spell the "
            "placeholder, and the chat template must write it once for each picture"
        )
    times = config.vision.n_patches
    return [token for one in tokens for token in [one] * (times if one == config.image_token else 1)]


@partial(jax.jit, static_argnames=("config", "plan"))
def embed_prompt(
    text: decoder.Decoder,
    tower: Tower,
    projector: Projector,
    tokens_T: Int[Array, "T"],
    pixels_IYXC: UInt[Array, "I Y X C"],
    config: VisionLanguageConfig,
    plan: Plan,
) -> Float[Array, "T D"]:
    """The embeddings of a prompt's tokens, with the pictures' vectors in its placeholders, in order."""
    pixels = normalised(pixels_IYXC.astype(jnp.float32) / 255, config.vision)
    vectors_IPD = project(projector, features(tower, pixels, config, plan))
    return embed(text, tokens_T[None], vectors_IPD.reshape(1, -1, vectors_IPD.shape[-1]), config.image_token)[0]
