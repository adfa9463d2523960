"""CLIP's vision tower as pure functions (Radford et al. 2021, §2.4; Dosovitskiy et al. 2021, eq. 1–4).

    patches   the picture cut into squares; each, as a row of numbers, times a matrix: a convolution without overlap
    embed     a class token before them, learned positions added, then a norm
    block     x + attention(norm(x)), then x + mlp(norm(x)); no causal mask      × L

LLaVA takes the patches' vectors from the layer before the last and leaves the class token out. Left out here: pictures
of other sizes, for which CLIP's positions are interpolated.
"""

import jax
import jax.numpy as jnp

from llm_jax.kernels.plan import Plan
from llm_jax.layers.attention import attend
from llm_jax.layers.mlp import ACTIVATIONS, mlp
from llm_jax.layers.projections import queries_keys_values
from llm_jax.models.vision_language.config import VisionConfig
from llm_jax.models.vision_language.parameters import Block, Tower
from llm_jax.shapes import Array, Float


def quick_gelu(x: Float[Array, "*rest F"]) -> Float[Array, "*rest F"]:
    """x·σ(1.702·x), the approximation of GELU that CLIP was trained with (Hendrycks & Gimpel 2016, §2)."""
    return x * jax.nn.sigmoid(1.702 * x)


def normalised(pixels_BYXC: Float[Array, "B Y X C"], config: VisionConfig) -> Float[Array, "B Y X C"]:
    """Pixels from 0 to 1 → what the tower reads: minus the mean, divided by the standard deviation of each colour."""
    return (pixels_BYXC - jnp.array(config.mean, jnp.float32)) / jnp.array(config.std, jnp.float32)


def patches(pixels_BYXC: Float[Array, "B Y X C"], size: int) -> Float[Array, "B P I"]:
    """The squares of a picture in reading order, each as a row of numbers: row by row, its colours side by side."""
    batch, height, width, colours = pixels_BYXC.shape
    cut = pixels_BYXC.reshape(batch, height // size, size, width // size, size, colours)
    return cut.transpose(0, 1, 3, 2, 4, 5).reshape(batch, -1, size * size * colours)


def tower(
    params: Tower, pixels_BYXC: Float[Array, "B Y X C"], config: VisionConfig, plan: Plan, depth: int | None = None
) -> Float[Array, "B S D"]:
    """The class token's vector and the patches', after `depth` blocks (None: all), before any last norm.

    Args:
        params: the tower.
        pixels_BYXC: pictures, normalised (`normalised`).
        config: the tower's.
        plan: which function computes each formula.
        depth: blocks to compute.

    Raises:
        ValueError: pictures of another size.
    """
    side = config.image_size
    if pixels_BYXC.shape[1:] != (side, side, 3):
        raise ValueError(
            f"pictures must have {side} × {side} pixels of three colours; got {pixels_BYXC.shape[1:]}: resize them"
        )
    x_BPD = plan.kernels.linear(params.patch, patches(pixels_BYXC.astype(plan.dtype), config.patch_size))
    first_B1D = jnp.broadcast_to(params.class_embedding.astype(x_BPD.dtype), (len(x_BPD), 1, config.d_model))
    x_BSD = jnp.concatenate([first_B1D, x_BPD], axis=1) + params.position_embedding.astype(x_BPD.dtype)
    x_BSD = plan.kernels.layer_norm(params.norm_before, x_BSD, config.norm_epsilon)
    for layer in params.blocks[:depth]:
        x_BSD = block(layer, x_BSD, config, plan)
    return x_BSD


def block(params: Block, x_BSD: Float[Array, "B S D"], config: VisionConfig, plan: Plan) -> Float[Array, "B S D"]:
    """One block: every position attends to all."""
    normalise, linear = plan.kernels.layer_norm, plan.kernels.linear
    q_BSNH, k_BSNH, v_BSNH = queries_keys_values(
        params.attention.qkv, normalise(params.norm_1, x_BSD, config.norm_epsilon), linear
    )
    everything = jnp.ones((1, x_BSD.shape[1], x_BSD.shape[1]), bool)
    x_BSD = x_BSD + linear(params.attention.out, attend(q_BSNH, k_BSNH, v_BSNH, everything), n_inputs=2)
    activation = quick_gelu if config.activation == "quick_gelu" else ACTIVATIONS[config.activation]
    return x_BSD + mlp(params.mlp, normalise(params.norm_2, x_BSD, config.norm_epsilon), activation, linear)


def pooled(params: Tower, x_BSD: Float[Array, "B S D"], config: VisionConfig, plan: Plan) -> Float[Array, "B D"]:
    """One vector a picture: the class token's after the last block, normalised."""
    return plan.kernels.layer_norm(params.norm_after, x_BSD[:, 0], config.norm_epsilon)
