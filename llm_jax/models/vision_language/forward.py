"""Embedded fusion (LLaVA, Liu et al. 2023): patches' vectors, projected, stand where the text has placeholders.

    features   the tower's patches from the layer before the last, without the class token
    project    linear, GELU, linear: to the width of the decoder's residual stream
    embed      the text's embeddings, and in the k-th placeholder of a row the k-th vector
    decoder    as ever: `llm_jax.models.decoder.forward`, which is given the embeddings

A row needs exactly as many placeholders as its picture has patches: with fewer the picture is cut off, with more the
last vector is repeated, and neither raises an error inside of `jit`. So `check_placeholders` counts before.
"""

from collections.abc import Sequence

import jax.numpy as jnp

from llm_jax.kernels.plan import Plan
from llm_jax.layers.linear import linear as plain_linear
from llm_jax.layers.mlp import gelu
from llm_jax.models import decoder
from llm_jax.models.vision_language.config import VisionLanguageConfig
from llm_jax.models.vision_language.parameters import Projector, Tower, VisionLanguage
from llm_jax.models.vision_language.tower import tower
from llm_jax.shapes import Array, Float, Int


def features(
    params: Tower, pixels_BYXC: Float[Array, "B Y X C"], config: VisionLanguageConfig, plan: Plan
) -> Float[Array, "B P D"]:
    """One vector a patch, from the layer `feature_layer`; the class token is left out. Pixels are normalised."""
    return tower(params, pixels_BYXC, config.vision, plan, config.feature_depth)[:, 1:]


def project(params: Projector, features_BPD: Float[Array, "B P D"]) -> Float[Array, "B P E"]:
    """down(gelu(up(x))): a patch's vector in the decoder's width."""
    return plain_linear(params.down, gelu(plain_linear(params.up, features_BPD)))


def see(
    params: VisionLanguage, pixels_BYXC: Float[Array, "B Y X C"], config: VisionLanguageConfig, plan: Plan
) -> Float[Array, "B P E"]:
    """Normalised pictures → the vectors that stand in the decoder's positions."""
    return project(params.projector, features(params.tower, pixels_BYXC, config, plan))


def embed(
    text: decoder.Decoder, tokens_BT: Int[Array, "B T"], vectors_BPD: Float[Array, "B P D"], image_token: int
) -> Float[Array, "B T D"]:
    """The embeddings of a row's tokens, with the k-th vector in its k-th placeholder."""
    is_picture_BT = tokens_BT == image_token
    place_BT = jnp.clip(jnp.cumsum(is_picture_BT, axis=1) - 1, 0, vectors_BPD.shape[1] - 1)
    put_BTD = jnp.take_along_axis(vectors_BPD, place_BT[..., None], axis=1)
    return jnp.where(is_picture_BT[..., None], put_BTD, text.token_embedding[tokens_BT])


def forward(
    params: VisionLanguage,
    tokens_BT: Int[Array, "B T"],
    pixels_BYXC: Float[Array, "B Y X C"],
    config: VisionLanguageConfig,
    plan: Plan,
    branches_BT: Int[Array, "B T"] | None = None,
) -> Float[Array, "B T D"]:
    """The decoder's hidden states, for rows with one picture each. Pixels are normalised.

    `branches_BT` keeps apart several texts about that picture (`llm_jax.layers.packing`).
    """
    vectors_BPD = see(params, pixels_BYXC, config, plan)
    embedded_BTD = embed(params.text, tokens_BT, vectors_BPD, config.image_token)
    return decoder.forward(
        params.text, tokens_BT, config.text, plan, branches_BT=branches_BT, embedded_BTD=embedded_BTD
    )[0]


def logits(
    params: VisionLanguage,
    tokens_BT: Int[Array, "B T"],
    pixels_BYXC: Float[Array, "B Y X C"],
    config: VisionLanguageConfig,
    plan: Plan,
) -> Float[Array, "B T V"]:
    """Next-token logits in float32."""
    hidden_BTD = forward(params, tokens_BT, pixels_BYXC, config, plan)
    return decoder.logits(params.text, hidden_BTD, config.text, plan)


def check_placeholders(tokens: Sequence[int], n_pictures: int, config: VisionLanguageConfig) -> None:
    """Raises ValueError unless a prompt has one placeholder for every patch of its pictures."""
    found, wanted = list(tokens).count(config.image_token), n_pictures * config.vision.n_patches
    if found != wanted:
        raise ValueError(
            f"the prompt has {found} placeholders for pictures (token {config.image_token}), and {n_pictures} "
            f"pictures of {config.vision.n_patches} patches need {wanted}: write one placeholder for each patch"
        )
