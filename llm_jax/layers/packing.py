"""Several texts in one row, kept apart: no query attends to another text, and positions begin anew with each.

Without both, a text would be read as the continuation of the one before it, and its loss would change. Segment numbers
separate a row's texts: they change where a text ends (0, 0, 0, 1, 1, 2, …). Padding counts as one more text.
"""

import jax
import jax.numpy as jnp

from llm_jax.shapes import Array, Bool, Int


def starts(segments_BT: Int[Array, "B T"]) -> Int[Array, "B T"]:
    """The position in its row where the text of each token begins."""
    place_T = jnp.arange(segments_BT.shape[1], dtype=jnp.int32)
    is_first_BT = jnp.diff(segments_BT, axis=1, prepend=segments_BT[:, :1] - 1) != 0
    return jax.lax.cummax(jnp.where(is_first_BT, place_T, 0), axis=1)


def packed_mask(starts_BT: Int[Array, "B t"], first: int = 0, length: int | None = None) -> Bool[Array, "B t S"]:
    """Which keys each query may attend to: those of its own text, up to itself.

    `starts_BT` are of the queries from position `first` on; `length` is the number of keys, by default up to the last
    query.
    """
    query_T = jnp.arange(first, first + starts_BT.shape[1])
    key_S = jnp.arange(length or first + starts_BT.shape[1])
    return (key_S >= starts_BT[..., None]) & (key_S <= query_T[:, None])


def branch_positions(branches_BT: Int[Array, "B T"]) -> Int[Array, "B T"]:
    """The position of each token in its own text."""
    place_T = jnp.arange(branches_BT.shape[1], dtype=jnp.int32)
    common_B1 = (branches_BT == 0).sum(axis=1, keepdims=True, dtype=jnp.int32)
    return place_T - jnp.where(branches_BT == 0, 0, starts(branches_BT) - common_B1)


def branched_mask(branches_BT: Int[Array, "B T"], first: int = 0, end: int | None = None) -> Bool[Array, "B t S"]:
    """Which keys each query may attend to: those of branch 0 and of its own branch, up to itself.

    For the queries from position `first` up to `end`, over the keys before `end`.
    """
    end = end or branches_BT.shape[1]
    query_BT1, key_B1S = branches_BT[:, first:end, None], branches_BT[:, None, :end]
    is_earlier_TS = jnp.arange(first, end)[:, None] >= jnp.arange(end)
    return is_earlier_TS & ((key_B1S == 0) | (key_B1S == query_BT1))
