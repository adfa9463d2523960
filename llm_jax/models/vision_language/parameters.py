"""The parameters of a tower, a projector and the decoder behind it: trees, and their initialisation."""

import math

import jax
import jax.numpy as jnp

from llm_jax.layers.linear import Linear, init_linear
from llm_jax.layers.mlp import MLP, init_mlp
from llm_jax.layers.norm import Norm, init_norm
from llm_jax.layers.projections import Attention, Projections
from llm_jax.models import decoder
from llm_jax.models.vision_language.config import VisionConfig, VisionLanguageConfig
from llm_jax.shapes import Array, Float, Key, pytree


@pytree
class Block:
    norm_1: Norm
    attention: Attention
    norm_2: Norm
    mlp: MLP


@pytree
class Tower:
    patch: Linear  # the patch's numbers → D, without a bias: CLIP's convolution as a matrix
    class_embedding: Float[Array, "D"]
    position_embedding: Float[Array, "P D"]  # of the class token, then of the patches
    norm_before: Norm
    blocks: tuple[Block, ...]
    norm_after: Norm  # of the class token, where it stands for the picture (contrastive training)


@pytree
class Projector:
    """A patch's vector → the decoder's width: linear, GELU, linear (LLaVA-1.5)."""

    up: Linear
    down: Linear


@pytree
class VisionLanguage:
    tower: Tower
    projector: Projector
    text: decoder.Decoder


def init_tower(key: Key[Array, ""], config: VisionConfig) -> Tower:
    """Fresh float32 parameters: normal(0, 1/√D), residual projections 1/√(2LD), zero biases, unit gains.

    CLIP's own code begins so. GPT-2's 0.02 leaves a narrow tower looking at nothing in particular for long.
    """
    patch, of_class, positions, *blocks = jax.random.split(key, 3 + config.n_layers)
    width, std = config.d_model, config.d_model**-0.5
    # As wide as its inputs ask: pixels have unit variance, and so have then the patches' vectors.
    patch_std = config.patch_pixels**-0.5
    return Tower(
        patch=init_linear(patch, (config.patch_pixels,), (width,), patch_std, has_bias=False),
        class_embedding=std * jax.random.normal(of_class, (width,)),
        position_embedding=std * jax.random.normal(positions, (1 + config.n_patches, width)),
        norm_before=init_norm(width),
        blocks=tuple(_init_block(one, config) for one in blocks),
        norm_after=init_norm(width),
    )


def _init_block(key: Key[Array, ""], config: VisionConfig) -> Block:
    q, k, v, out, hidden = jax.random.split(key, 5)
    width, heads = (config.d_model,), (config.n_heads, config.d_head)
    std = config.d_model**-0.5
    residual_std = std / math.sqrt(2 * config.n_layers)
    return Block(
        norm_1=init_norm(config.d_model),
        attention=Attention(
            qkv=Projections(*(init_linear(one, width, heads, std) for one in (q, k, v))),
            out=init_linear(out, heads, width, residual_std),
        ),
        norm_2=init_norm(config.d_model),
        mlp=init_mlp(hidden, config.d_model, config.mlp_width, std, residual_std),
    )


def init_projector(key: Key[Array, ""], config: VisionLanguageConfig) -> Projector:
    """Its matrices keep the variance, so that a patch's vector is as large as what the next layer expects."""
    up, down = jax.random.split(key)
    seen, width = config.vision.d_model, config.text.d_model
    return Projector(
        up=init_linear(up, (seen,), (width,), seen**-0.5), down=init_linear(down, (width,), (width,), width**-0.5)
    )


def init(key: Key[Array, ""], config: VisionLanguageConfig) -> VisionLanguage:
    """Fresh parameters of all three parts."""
    tower, projector, text = jax.random.split(key, 3)
    return VisionLanguage(
        tower=init_tower(tower, config.vision),
        projector=init_projector(projector, config),
        text=decoder.init(text, config.text),
    )


def count(tree: object) -> int:
    """Numbers in a tree of parameters."""
    return sum(jnp.size(leaf) for leaf in jax.tree.leaves(tree))
