"""Floating-point operations of one example, by formulas: two for every multiplication with its addition.

Matrix products and attention scores are counted, norms and activations are not. Training a part costs three forward
passes; a frozen part costs one, and one more where the gradient has to pass through it to a part before it.
"""

from llm_jax.config import DecoderConfig
from llm_jax.models.vision_language.config import VisionConfig

TRAINED, PASSED, FROZEN = 3, 2, 1  # forward passes that a part costs


def decoder(config: DecoderConfig, length: int, with_logits: int | None = None) -> int:
    """One row of `length` tokens through a decoder; logits of `with_logits` positions (None: of all)."""
    heads, keys = config.n_heads * config.d_head, config.kv_heads * config.d_head
    weights = (
        config.d_model * (2 * heads + 2 * keys) + (3 if config.gated_mlp else 2) * config.d_model * config.d_hidden
    )
    blocks = config.n_layers * (2 * weights * length + 4 * length**2 * heads)
    asked = length if with_logits is None else with_logits
    return blocks + 2 * asked * config.d_model * config.padded_vocab_size


def tower(config: VisionConfig, depth: int) -> int:
    """One picture through `depth` blocks of a vision tower."""
    length, width = 1 + config.n_patches, config.d_model
    weights = 4 * width**2 + 2 * width * config.mlp_width
    return 2 * config.n_patches * config.patch_pixels * width + depth * (2 * weights * length + 4 * length**2 * width)


def linear(n_vectors: int, inputs: int, outputs: int) -> int:
    """So many vectors times a matrix."""
    return 2 * n_vectors * inputs * outputs
