"""Exact nearest vectors, in tiles: the scores of a few queries exist at a time, against every vector.

    scores = q·Vᵀ  →  the k largest

For unit vectors the score is the cosine. The vectors are read once for each tile of queries, which takes nearly all of
the time; memory beside them is tile × vectors.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from llm_jax.models.embeddings.vectors import Vectors
from llm_jax.shapes import Array, Float, Int

TILE = 32  # queries


@partial(jax.jit, static_argnames=("k", "tile"))
def top_k(
    queries_QD: Float[Array, "Q D"], vectors_VD: Float[Array, "V D"], k: int, tile: int = TILE
) -> tuple[Float[Array, "Q k"], Int[Array, "Q k"]]:
    """The k largest dot products of each query and where they are, the largest first; of equal ones the earlier first.

    `k` must not be larger than the number of vectors.
    """

    def best(queries_TD: Array) -> tuple[Array, Array]:
        scores_TV = jnp.einsum("TD,VD->TV", queries_TD, vectors_VD, preferred_element_type=jnp.float32)
        scores, places = jax.lax.top_k(scores_TV, k)
        return scores, places

    n = len(queries_QD)
    if n <= tile:
        return best(queries_QD)
    tiles = jnp.pad(queries_QD, ((0, -n % tile), (0, 0))).reshape(-1, tile, queries_QD.shape[1])
    scores, places = jax.lax.map(best, tiles)
    return scores.reshape(-1, k)[:n], places.reshape(-1, k)[:n]


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
