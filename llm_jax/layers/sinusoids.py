"""Positions as sines and cosines of falling frequency, not learned (Vaswani et al. 2017, §3.5).

    PE(p, i) = sin(p / 10000^(2i/D))      PE(p, D/2 + i) = cos(p / 10000^(2i/D))      0 ≤ i < D/2

The paper writes sine and cosine of one frequency side by side; its code (tensor2tensor) and Marian's put all sines
first, as here. The two differ by an order of the width, which the first matrix learns.
"""

import numpy as np

from llm_jax.shapes import Float

SLOWEST = 10_000.0


def sinusoids(length: int, width: int) -> Float[np.ndarray, "P D"]:
    """The table of `length` positions, computed in float64 and rounded once. The width must be even."""
    assert width % 2 == 0, width
    angles = np.arange(length)[:, None] / SLOWEST ** (np.arange(0, width, 2) / width)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)
