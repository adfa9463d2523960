"""From the hidden states of a text to one vector, and from two vectors to a similarity (Reimers & Gurevych 2019, §3).

The mean goes over the text's own tokens. A row is padded to the length of the longest of its batch; with the padding
in the mean, a text's vector would depend on its neighbours in the batch.
"""

from collections.abc import Callable

import jax.numpy as jnp

from llm_jax.shapes import Array, Bool, Float

SMALLEST = 1e-12  # length of a vector that can still be divided by


def masked_mean(hidden_BTD: Float[Array, "B T D"], is_token_BT: Bool[Array, "B T"]) -> Float[Array, "B D"]:
    """The mean of a text's tokens, its border tokens included; zeros for a row without a token."""
    weights_BT = is_token_BT.astype(hidden_BTD.dtype)
    sums_BD = jnp.einsum("BTD,BT->BD", hidden_BTD, weights_BT)
    return sums_BD / jnp.maximum(weights_BT.sum(axis=1), 1)[:, None]


def first_token(hidden_BTD: Float[Array, "B T D"], is_token_BT: Bool[Array, "B T"]) -> Float[Array, "B D"]:
    """The state of the first token, BERT's [CLS]: for models that were trained so."""
    del is_token_BT
    return hidden_BTD[:, 0]


# Keys are the values of `Pooling` in llm_jax.hf.encoder.
POOLINGS: dict[str, Callable[[Array, Array], Array]] = {"mean": masked_mean, "cls": first_token}


def normalise(x_BD: Float[Array, "B D"]) -> Float[Array, "B D"]:
    """Each vector divided by its length, so that a dot product is a cosine. A vector of zeros stays as it is."""
    length_B1 = jnp.sqrt(jnp.square(x_BD).sum(axis=-1, keepdims=True))
    return x_BD / jnp.maximum(length_B1, SMALLEST)
