"""Exact nearest vectors, in tiles: all scores of one tile exist at a time, and the best so far are kept.

    scores = q·Vᵀ of a tile  →  its k best  →  the k best of those and the ones before

For unit vectors the score is the cosine. Memory is queries × tile instead of queries × vectors; the result is that of
sorting all scores.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from llm_jax.models.embeddings.vectors import Vectors
from llm_jax.shapes import Array, Float, Int

TILE = 16_384


@partial(jax.jit, static_argnames=("k", "tile"))
def top_k(
    queries_QD: Float[Array, "Q D"], vectors_VD: Float[Array, "V D"], k: int, tile: int = TILE
) -> tuple[Float[Array, "Q k"], Int[Array, "Q k"]]:
    """The k largest dot products of each query and where they are, the largest first; of equal ones the earlier first.

    `k` must not be larger than the number of vectors.
    """
    n = len(vectors_VD)
    tile = min(tile, n)
    best = jnp.full((len(queries_QD), k), -jnp.inf), jnp.zeros((len(queries_QD), k), int)

    def one(number, best):
        # The last tile reaches back into the one before, for all are of one size; what was seen there does not count.
        start = jnp.minimum(number * tile, n - tile)
        rows_WD = jax.lax.dynamic_slice_in_dim(vectors_VD, start, tile)
        scores_QW = jnp.einsum("QD,WD->QW", queries_QD, rows_WD, preferred_element_type=jnp.float32)
        place_W = start + jnp.arange(tile)
        scores_QW = jnp.where(place_W >= number * tile, scores_QW, -jnp.inf)
        found, at = jax.lax.top_k(scores_QW, min(k, tile))
        every = jnp.concatenate([best[0], found], axis=1)
        places = jnp.concatenate([best[1], start + at], axis=1)
        kept, at = jax.lax.top_k(every, k)
        return kept, jnp.take_along_axis(places, at, axis=1)

    return jax.lax.fori_loop(0, -(-n // tile), one, best)


def neighbours(vectors: Vectors, words: Sequence[str], k: int = 10) -> list[list[tuple[str, float]]]:
    """The k nearest words of each word by cosine, itself left out. Raises ValueError for a word without a vector."""
    rows = vectors.rows(words)
    return _named(vectors, vectors.unit[rows], [{row} for row in rows], k)


def analogies(vectors: Vectors, questions: Sequence[tuple[str, str, str]], k: int = 5) -> list[list[tuple[str, float]]]:
    """a is to b as c is to …: the words nearest to b − a + c, the question's own left out (Mikolov et al. 2013a).

    With them in, the answer would mostly be c or b. Raises ValueError for a word without a vector.
    """
    rows = np.array([vectors.rows(question) for question in questions])
    a, b, c = (vectors.unit[rows[:, i]] for i in range(3))
    wanted = b - a + c
    wanted /= np.maximum(np.linalg.norm(wanted, axis=1, keepdims=True), 1e-12)
    return _named(vectors, wanted, [set(row) for row in rows.tolist()], k)


def _named(
    vectors: Vectors, queries: np.ndarray, left_out: Sequence[set[int]], k: int
) -> list[list[tuple[str, float]]]:
    most = min(k + max(map(len, left_out)), len(vectors.words))
    scores, places = map(np.asarray, top_k(jnp.asarray(queries), jnp.asarray(vectors.unit), most))
    return [
        [(vectors.words[place], float(score)) for score, place in zip(*pair, strict=True) if place not in out][:k]
        for *pair, out in zip(scores, places, left_out, strict=True)
    ]
