"""A residual connection and its norm: on the sum (Vaswani et al. 2017, §3.1) or on what the half block reads.

Post-norm keeps the stream's size at every depth and needs a warm-up; pre-norm lets the stream grow, needs one more
norm at the end, and trains without (Xiong et al. 2020).
"""

from collections.abc import Callable

from llm_jax.layers.norm import Norm
from llm_jax.shapes import Array, Float


def residual(
    half: Callable[[Array], Array],
    x_BTD: Float[Array, "B T D"],
    norm: Norm,
    normalise: Callable[..., Array],
    place: str,
    epsilon: float,
) -> Float[Array, "B T D"]:
    """norm(x + half(x)) where `place` is "post"; x + half(norm(x)) where it is "pre"."""
    if place == "post":
        return normalise(norm, x_BTD + half(x_BTD), epsilon)
    return x_BTD + half(normalise(norm, x_BTD, epsilon))
