"""A question → the passages nearest to it, exactly: every passage is compared."""

from dataclasses import dataclass

import jax
import numpy as np

from llm_jax.hf.sentences import Embedder
from llm_jax.models.embeddings.nearest import top_k
from serve.search.index import Index


@dataclass(frozen=True)
class Found:
    score: float  # cosine
    file: str
    line: int
    text: str


class Searcher:
    """Keeps the vectors on the device."""

    def __init__(self, index: Index, embedder: Embedder):
        self._index, self._embedder = index, embedder
        length = np.sqrt(np.einsum("vd,vd->v", index.vectors, index.vectors))  # without an array of squares
        is_unit = bool(np.allclose(length, 1, atol=1e-4))
        self._unit = jax.device_put(index.vectors if is_unit else index.vectors / np.maximum(length, 1e-12)[:, None])

    def search(self, queries: list[str], k: int) -> list[list[Found]]:
        """The k nearest passages of each question, the nearest first."""
        asked = self._embedder.embed(queries)
        asked /= np.maximum(np.linalg.norm(asked, axis=1, keepdims=True), 1e-12)
        scores, places = map(np.asarray, top_k(jax.device_put(asked), self._unit, min(k, len(self._index.names))))
        return [[self._found(*pair) for pair in zip(*row, strict=True)] for row in zip(scores, places, strict=True)]

    def _found(self, score: float, place: int) -> Found:
        passage = self._index.passages[place]
        return Found(float(score), self._index.names[place], passage.line, passage.text)
