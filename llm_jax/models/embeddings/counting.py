"""Vectors by counting: positive pointwise mutual information and its singular vectors (Levy & Goldberg 2014; 2015).

    PPMI(x, y) = max(0, log(n(x, y)·N / (n(x)·n(y)^0.75-share)) − log k)      x, y neighbours, k negatives

Skip-gram with k negatives factors this matrix, without the max (Levy & Goldberg 2014, §3.1). Its truncated singular
value decomposition W·Σ·Cᵀ is the best factorisation of that rank; the vectors are W·√Σ, which does better than W·Σ
(Levy, Goldberg & Dagan 2015, §3.3).
"""

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from llm_jax.models.embeddings.vocabulary import POWER, Text, Vocabulary


def neighbour_counts(text: Text, vocab_size: int, window: int) -> scipy.sparse.csr_array:
    """How often each word stands beside each other one, [V, V].

    A neighbour at distance d counts (window + 1 − d)/window, as often as the random windows of skip-gram reach it.
    """
    total = scipy.sparse.csr_array((vocab_size, vocab_size))
    for distance in range(1, min(window, len(text.ids) - 1) + 1):
        together = text.sentences[distance:] == text.sentences[:-distance]
        pairs = (text.ids[:-distance][together], text.ids[distance:][together])
        weight = np.full(len(pairs[0]), (window + 1 - distance) / window)
        found = scipy.sparse.coo_array((weight, pairs), shape=(vocab_size, vocab_size)).tocsr()
        total = total + found + found.T
    return scipy.sparse.csr_array(total)


def ppmi(counts: scipy.sparse.csr_array, negatives: int = 1) -> scipy.sparse.csr_array:
    """Positive pointwise mutual information, shifted by log `negatives`; sparse, because most pairs never occur."""
    found = counts.tocoo()
    rows, columns = (np.asarray(counts.sum(axis=axis)).reshape(-1) for axis in (1, 0))
    smooth = columns**POWER
    share = smooth / smooth.sum()
    value = np.log(found.data / (rows[found.row] * share[found.col])) - np.log(negatives)
    kept = value > 0
    return scipy.sparse.coo_array((value[kept], (found.row[kept], found.col[kept])), shape=counts.shape).tocsr()


def vectors(text: Text, vocabulary: Vocabulary, width: int, window: int, negatives: int = 1) -> np.ndarray:
    """W·√Σ of PPMI, float32 [V, width].

    Raises:
        ValueError: the matrix has no entry above 0, or not `width` singular vectors.
    """
    matrix = ppmi(neighbour_counts(text, len(vocabulary), window), negatives)
    if width >= len(vocabulary):
        raise ValueError(f"{len(vocabulary)} words have fewer than {width} singular vectors: lower --width")
    if matrix.nnz == 0:
        raise ValueError("no two words stand beside each other more often than by chance: give more text")
    start = np.random.default_rng(0).normal(size=len(vocabulary))  # by default the solver draws a random one
    left, sigma, _ = scipy.sparse.linalg.svds(matrix, k=width, v0=start, solver="arpack")
    assert left is not None
    order = np.argsort(-sigma)
    return (left[:, order] * np.sqrt(sigma[order])).astype(np.float32)
