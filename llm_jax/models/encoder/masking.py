"""Which tokens a masked language model has to guess, and what it sees in their place (Devlin et al. 2019, §3.1).

Each token is chosen with probability 15 %. A chosen one becomes [MASK] in 80 % of cases, a random token in 10 %, and
stays as it is in 10 %; the loss is on every chosen one. So the model cannot know that a token it sees is right, and
keeps a useful state for all of them. Tokens are chosen independently; BERT's own code chooses a fixed number a row.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from llm_jax.shapes import Array, Bool, Float, Int, Key

RATE, MASKED, RANDOM = 0.15, 0.8, 0.1


class Masked(NamedTuple):
    """What the model sees, and where the loss is: 1 at a chosen token, else 0. The targets are the tokens as given."""

    inputs_BT: Int[Array, "B T"]
    weights_BT: Float[Array, "B T"]


def mask_tokens(
    key: Key[Array, ""],
    tokens_BT: Int[Array, "B T"],
    may_mask_BT: Bool[Array, "B T"],
    mask_id: int,
    ordinary: tuple[int, int],
    rate: float = RATE,
) -> Masked:
    """The same key gives the same choice.

    Args:
        key: random key.
        tokens_BT: the text.
        may_mask_BT: False at padding and at border tokens, which are never chosen.
        mask_id: the id of [MASK].
        ordinary: first id of the ordinary tokens and one behind the last; a random token is drawn from these.
        rate: probability that a token is chosen.
    """
    choose, kind, draw = jax.random.split(key, 3)
    is_chosen_BT = (jax.random.uniform(choose, tokens_BT.shape) < rate) & may_mask_BT
    kind_BT = jax.random.uniform(kind, tokens_BT.shape)
    random_BT = jax.random.randint(draw, tokens_BT.shape, *ordinary, dtype=tokens_BT.dtype)
    seen_BT = jnp.where(kind_BT < MASKED, mask_id, jnp.where(kind_BT < MASKED + RANDOM, random_BT, tokens_BT))
    return Masked(jnp.where(is_chosen_BT, seen_BT, tokens_BT), is_chosen_BT.astype(jnp.float32))
