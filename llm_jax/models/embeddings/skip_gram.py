"""Skip-gram with negative sampling (Mikolov et al. 2013b, eq. 4), as word2vec.c defines it, vectorised.

Two tables: a word as a neighbour, I (the vectors that are kept), and a word in the middle, O. For each pair of a
neighbour x and a middle word y, and words n drawn by count^0.75, the loss is

    −log σ(I_x·O_y) − Σ_n log σ(−I_x·O_n)                      d/ds log σ(s) = 1 − σ(s)

Negatives that happen to be y do not count. In a block of text all pairs come from one matrix of scores, neighbours ×
(middle words and negatives), and the gradients of both tables are two more products with it. Updates follow one
another, as in word2vec.c: each block sees the vectors that the block before it has changed. Within a block all pairs
see the same vectors; word2vec.c changes them after each pair. It looks σ up in a table that ends at ±6; here σ is
computed.
"""

from functools import partial

import jax
import jax.numpy as jnp

from llm_jax.models.embeddings.batches import Chunk
from llm_jax.shapes import Array, Bool, Float, Int, Key, pytree


@pytree
class SkipGram:
    neighbour: Float[Array, "V D"]  # I: the vectors that are kept
    middle: Float[Array, "V D"]  # O


def init(key: Key[Array, ""], vocab_size: int, width: int) -> SkipGram:
    """word2vec.c's initial vectors: neighbours uniform between ±1/(2D), middle words zero."""
    neighbour = jax.random.uniform(key, (vocab_size, width), minval=-0.5 / width, maxval=0.5 / width)
    return SkipGram(neighbour=neighbour, middle=jnp.zeros((vocab_size, width)))


def pair_loss(x_D: Float[Array, "D"], y_D: Float[Array, "D"], negatives_KD: Float[Array, "K D"]) -> Float[Array, ""]:
    """The formula for one pair: −log σ(x·y) − Σ log σ(−x·n)."""
    return -jax.nn.log_sigmoid(x_D @ y_D) - jax.nn.log_sigmoid(-negatives_KD @ x_D).sum()


def neighbours(sentences_GX: Int[Array, "G X"], windows_GC: Int[Array, "G C"], halo: int) -> Bool[Array, "G X C"]:
    """Whether place x of a block (with `halo` places on either side) is a neighbour of its position c."""
    places_X, positions_C = jnp.arange(sentences_GX.shape[1]), jnp.arange(windows_GC.shape[1]) + halo
    distance_XC = jnp.abs(places_X[:, None] - positions_C[None, :])
    middle_GC = sentences_GX[:, halo : halo + windows_GC.shape[1]]
    is_near = (distance_XC > 0) & (distance_XC <= windows_GC[:, None, :])
    return is_near & (sentences_GX[:, :, None] == middle_GC[:, None, :])


def shared_step(
    params: SkipGram,
    ids_GX: Int[Array, "G X"],
    is_pair_GXC: Bool[Array, "G X C"],
    drawn_GM: Int[Array, "G M"],
    rate: Float[Array, ""],
    negatives: int,
) -> SkipGram:
    """One update by a block of each stream whose pairs share M negatives, each with weight negatives/M."""
    halo = (ids_GX.shape[1] - is_pair_GXC.shape[2]) // 2
    n_middle = is_pair_GXC.shape[2]
    middle_GC = ids_GX[:, halo : halo + n_middle]
    other_GY = jnp.concatenate([middle_GC, drawn_GM], axis=1)
    pairs_GXC = is_pair_GXC.astype(jnp.float32)
    # How many pairs of neighbour x meet negative m: all of x's, less those whose middle word is m itself.
    is_itself_GCM = (middle_GC[:, :, None] == drawn_GM[:, None, :]).astype(jnp.float32)
    met_GXM = pairs_GXC.sum(axis=2)[:, :, None] - jnp.einsum("GXC,GCM->GXM", pairs_GXC, is_itself_GCM)
    x_GXD, y_GYD = params.neighbour[ids_GX], params.middle[other_GY]
    sigma_GXY = jax.nn.sigmoid(jnp.einsum("GXD,GYD->GXY", x_GXD, y_GYD))
    up_GXY = jnp.concatenate(
        [
            (1 - sigma_GXY[:, :, :n_middle]) * pairs_GXC,
            -sigma_GXY[:, :, n_middle:] * met_GXM * (negatives / drawn_GM.shape[1]),
        ],
        axis=2,
    )
    up_GXY *= rate
    return SkipGram(
        neighbour=_added(params.neighbour, ids_GX, jnp.einsum("GXY,GYD->GXD", up_GXY, y_GYD)),
        middle=_added(params.middle, other_GY, jnp.einsum("GXY,GXD->GYD", up_GXY, x_GXD)),
    )


def each_step(
    params: SkipGram,
    ids_GX: Int[Array, "G X"],
    is_pair_GXC: Bool[Array, "G X C"],
    drawn_GCPK: Int[Array, "G C P K"],
    rate: Float[Array, ""],
) -> SkipGram:
    """One update by a block of each stream whose every pair has K negatives of its own; P = 2·window places."""
    halo, n_middle = drawn_GCPK.shape[2] // 2, is_pair_GXC.shape[2]
    # The places beside position c of the block: c … c + halo − 1 and c + halo + 1 … c + 2·halo.
    beside_P = jnp.array([place for place in range(2 * halo + 1) if place != halo])
    place_CP = jnp.arange(n_middle)[:, None] + beside_P
    x_ids = ids_GX[:, place_CP]
    is_pair = is_pair_GXC[:, place_CP, jnp.arange(n_middle)[:, None]]
    middle_GC = ids_GX[:, halo : halo + n_middle]
    y_ids = jnp.concatenate([jnp.broadcast_to(middle_GC[:, :, None, None], (*x_ids.shape, 1)), drawn_GCPK], axis=3)
    x, y = params.neighbour[x_ids], params.middle[y_ids]
    is_itself = drawn_GCPK == middle_GC[:, :, None, None]
    label = jnp.zeros(y_ids.shape[3]).at[0].set(1)
    weight = jnp.concatenate([jnp.ones((*x_ids.shape, 1)), 1.0 - is_itself], axis=3) * is_pair[..., None]
    up = rate * weight * (label - jax.nn.sigmoid(jnp.einsum("gcpd,gcpyd->gcpy", x, y)))
    return SkipGram(
        neighbour=_added(params.neighbour, x_ids, jnp.einsum("gcpy,gcpyd->gcpd", up, y)),
        middle=_added(params.middle, y_ids, up[..., None] * x[..., None, :]),
    )


def _added(table_VD: Array, ids: Array, rows: Array) -> Array:
    return table_VD.at[ids.reshape(-1)].add(rows.reshape(-1, table_VD.shape[1]))


@partial(jax.jit, static_argnames="negatives", donate_argnames="params")
def train_chunk(params: SkipGram, chunk: Chunk, negatives: int) -> SkipGram:
    """The vectors after all blocks of a chunk, one after the other."""
    steps, _, block = chunk.windows.shape
    halo = (chunk.ids.shape[1] - steps * block) // 2

    def step(params, given):
        number, windows_GC, drawn, rate = given
        ids_GX, sentences_GX = (
            jax.lax.dynamic_slice_in_dim(row, number * block, block + 2 * halo, axis=1)
            for row in (chunk.ids, chunk.sentences)
        )
        is_pair_GXC = neighbours(sentences_GX, windows_GC, halo)
        if drawn.ndim == 2:
            return shared_step(params, ids_GX, is_pair_GXC, drawn, rate, negatives), None
        return each_step(params, ids_GX, is_pair_GXC, drawn, rate), None

    numbers = jnp.arange(steps)
    return jax.lax.scan(step, params, (numbers, chunk.windows, chunk.drawn, chunk.rates))[0]
