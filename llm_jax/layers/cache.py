"""The KV-cache: keys and values of the tokens seen so far, each computed once (Shazeer 2019, §2.4).

Keys and values are all that later tokens need of earlier ones, so a decoding step is a forward pass over one token.

All rows of the batch write to the same slot, and the cache stores which position of its row each slot holds. So writing
a new token is one contiguous copy for the whole batch (writing at each row's own position would be a scatter), and rows
of different lengths differ only in the mask:

    slot         0    1    2    3  |  4    5          prompts "a b c d" and "x y", padded on the right to four tokens,
    positions    0    1    2    3  |  4    5          then two tokens decoded
                 0    1    -    -  |  2    3

With grouped queries the cache is smaller, for it holds the heads of keys and values only. Batch and heads are merged
into one dimension R, the batch dimension of the matrix products: XLA then neither transposes nor copies the cache in a
decoding step. Left out: paged blocks (Kwon et al. 2023) and sliding windows.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from llm_jax.shapes import Array, Bool, Float, Int, pytree

EMPTY = jnp.iinfo(jnp.int32).max  # a position after every query, so the mask always hides it


@pytree
class LayerCache:
    """Keys and values of one layer."""

    k_RSH: Float[Array, "R S H"]
    v_RSH: Float[Array, "R S H"]


@pytree
class Cache:
    """Keys and values of every layer, and which token of its row each slot holds."""

    layers: tuple[LayerCache, ...]
    positions_BS: Int[Array, "B S"]  # EMPTY where the slot holds no token
    lengths_B: Int[Array, "B"]  # tokens each row has seen: the position of its next one
    filled: Int[Array, ""]  # slots in use, padding included; the next token of every row goes there


@pytree
class Window:
    """Where a chunk of new tokens is written in the cache, and which slots its queries may attend to."""

    start: Int[Array, ""]
    mask_BTS: Bool[Array, "B T S"]


def empty(n_layers: int, n_kv_heads: int, d_head: int, batch: int, length: int, dtype: DTypeLike) -> Cache:
    """A cache of `length` slots for `batch` rows: 2·layers·(KV heads)·width·length·batch numbers."""
    shape = (batch * n_kv_heads, length, d_head)
    return Cache(
        layers=tuple(LayerCache(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype)) for _ in range(n_layers)),
        positions_BS=jnp.full((batch, length), EMPTY, jnp.int32),
        lengths_B=jnp.zeros(batch, jnp.int32),
        filled=jnp.zeros((), jnp.int32),
    )


def advance(cache: Cache, length: int) -> tuple[Cache, Window, Int[Array, "B T"]]:
    """Assigns slots to `length` new tokens a row. Returns the cache, the window of the new slots, and their positions.

    The caller then writes the keys and values of each layer with `write`. The caller must leave enough free slots:
    `jit` cannot check it, and too many tokens would overwrite the last slots.
    """
    positions_BT = cache.lengths_B[:, None] + jnp.arange(length)
    positions_BS = jax.lax.dynamic_update_slice(cache.positions_BS, positions_BT, (0, cache.filled))
    window = Window(start=cache.filled, mask_BTS=positions_BS[:, None] <= positions_BT[:, :, None])
    lengths_B, filled = cache.lengths_B + length, cache.filled + length
    return Cache(cache.layers, positions_BS, lengths_B, filled), window, positions_BT


def write(
    layer: LayerCache, k_BTKH: Float[Array, "B T K H"], v_BTKH: Float[Array, "B T K H"], start: Int[Array, ""]
) -> LayerCache:
    """Writes a chunk's keys and values to the slots from `start` on."""

    def put(old_RSH, new_BTKH):
        return jax.lax.dynamic_update_slice(old_RSH, heads_first(new_BTKH).astype(old_RSH.dtype), (0, start, 0))

    return LayerCache(k_RSH=put(layer.k_RSH, k_BTKH), v_RSH=put(layer.v_RSH, v_BTKH))


def heads_first(x_BTNH: Float[Array, "B T N H"]) -> Float[Array, "R T H"]:
    """(B, T, N, H) → (B·N, T, H)."""
    batch, length, n_heads, d_head = x_BTNH.shape
    return x_BTNH.swapaxes(1, 2).reshape(batch * n_heads, length, d_head)


def heads_last(x_RTH: Float[Array, "R T H"], batch: int) -> Float[Array, "B T N H"]:
    """(B·N, T, H) → (B, T, N, H)."""
    return x_RTH.reshape(batch, -1, *x_RTH.shape[1:]).swapaxes(1, 2)


def forget_padding(cache: Cache, lengths_B: Int[Array, "B"]) -> Cache:
    """After a prefill padded on the right: sets the rows' true lengths and marks the padding's slots EMPTY."""
    positions_BS = jnp.where(cache.positions_BS < lengths_B[:, None], cache.positions_BS, EMPTY)
    return dataclasses.replace(cache, positions_BS=positions_BS, lengths_B=lengths_B)


def extend(cache: Cache, length: int) -> Cache:
    """The same cache with `length` slots, the new ones empty."""
    more = length - cache.positions_BS.shape[1]
    layers = jax.tree.map(lambda x_RSH: jnp.pad(x_RSH, ((0, 0), (0, more), (0, 0))), cache.layers)
    positions_BS = jnp.pad(cache.positions_BS, ((0, 0), (0, more)), constant_values=EMPTY)
    return dataclasses.replace(cache, layers=layers, positions_BS=positions_BS)


def rows(cache: Cache, chosen_B: Int[Array, "b"]) -> Cache:
    """The cache whose row i is row `chosen_B[i]` of this one.

    Beam search continues some rows twice and drops others.
    """
    batch = cache.lengths_B.shape[0]

    def take(x_RSH: Float[Array, "R S H"]) -> Float[Array, "r S H"]:
        x_BNSH = x_RSH.reshape(batch, -1, *x_RSH.shape[1:])
        return x_BNSH[chosen_B].reshape(-1, *x_RSH.shape[1:])

    return Cache(
        layers=jax.tree.map(take, cache.layers),
        positions_BS=cache.positions_BS[chosen_B],
        lengths_B=cache.lengths_B[chosen_B],
        filled=cache.filled,
    )
