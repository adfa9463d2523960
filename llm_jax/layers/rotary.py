"""Rotary positions (Su et al. 2021, RoFormer, eq. 34): queries and keys are rotated by angles that grow with position.

Dimension i of a head is paired with i + H/2, as in Hugging Face's files (the paper pairs neighbours: the same function
with the dimensions in another order). Pair i turns by θ^(−2i/H) radians per position, so a score depends only on how
far query and key are apart. Longer contexts change the frequencies: `RotaryScaling` names the three ways computed here.
"""

import math

import jax.numpy as jnp
import numpy as np

from llm_jax.config import DecoderConfig, RotaryScaling
from llm_jax.shapes import Array, Float, Int, pytree


@pytree
class Rotation:
    """Cosine and sine of every angle, in float32; the first axes are those of the positions."""

    cos: Float[Array, "*positions half"]
    sin: Float[Array, "*positions half"]


def rotation(config: DecoderConfig, positions: Int[Array, "*positions"]) -> Rotation:
    """The rotation of each position. YaRN's factor on queries and keys is part of it."""
    frequencies, factor = frequencies_of(config.d_head, config.rotary_theta, config.rotary_scaling)
    angles = positions[..., None].astype(jnp.float32) * jnp.asarray(frequencies)
    return Rotation(jnp.cos(angles) * factor, jnp.sin(angles) * factor)


def rotate(x_BTNH: Float[Array, "B T N H"], by: Rotation) -> Float[Array, "B T N H"]:
    """Rotates each pair (x, y) of dimensions i and i + H/2 to (x·cos − y·sin, y·cos + x·sin)."""
    cos, sin = (c[..., None, :] for c in (by.cos, by.sin))  # the same for all heads
    x, y = jnp.split(x_BTNH.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([x * cos - y * sin, y * cos + x * sin], axis=-1).astype(x_BTNH.dtype)


def frequencies_of(d_head: int, theta: float, scaling: RotaryScaling | None) -> tuple[np.ndarray, float]:
    """Radians per position of each pair, shape (H/2,) in float32, and the factor on queries and keys."""
    # Rounded where transformers rounds: at position 8,000 the last digit of a frequency is 0.0005 radians.
    powers = np.arange(0, d_head, 2, dtype=np.float32) / np.float32(d_head)
    frequencies = np.float32(1.0) / np.power(np.float64(theta), powers.astype(np.float64)).astype(np.float32)
    if scaling is None:
        return frequencies, 1.0
    if scaling.kind == "linear":
        return frequencies / np.float32(scaling.factor), 1.0
    if scaling.kind == "llama3":
        return _llama3(frequencies, scaling), 1.0
    factor = scaling.attention_factor or 0.1 * math.log(scaling.factor) + 1.0
    return _yarn(frequencies, theta, scaling), factor


def _llama3(frequencies: np.ndarray, scaling: RotaryScaling) -> np.ndarray:
    """Llama 3.1: divided below `low_freq_factor` turns over the original context, kept above `high_freq_factor`."""
    turns = scaling.original_context_length * frequencies / (2 * math.pi)
    ramp = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    kept = np.clip(ramp, 0, 1)
    return (frequencies * kept + frequencies / scaling.factor * (1 - kept)).astype(np.float32)


def _yarn(frequencies: np.ndarray, theta: float, scaling: RotaryScaling) -> np.ndarray:
    """YaRN (Peng et al. 2023, §3.2): the ramp runs over dimensions, from `beta_fast` to `beta_slow` turns."""
    half = len(frequencies)

    def dimension(turns: float) -> float:
        """The pair that turns this often over the original context."""
        return half * math.log(scaling.original_context_length / (turns * 2 * math.pi)) / math.log(theta)

    low, high = dimension(scaling.beta_fast), dimension(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, 2 * half - 1)
    ramp = np.clip((np.arange(half, dtype=np.float32) - low) / max(high - low, 0.001), 0, 1)
    return (frequencies * (1 - ramp) + frequencies / scaling.factor * ramp).astype(np.float32)
