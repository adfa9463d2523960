"""The segmentations of one text under a unigram language model (Kudo 2018, arXiv 1804.10959).

A segmentation cuts the text into pieces; its log probability is the sum of the pieces' scores. All segmentations are
the paths through a lattice: the nodes are the places between characters, an edge is a piece that the text has there. A
character that is no piece gets an edge of its own, whose score is worse than every piece's.

    best      the most likely path (Viterbi 1967)
    n_best    the n most likely ones (A*, Nagata 1994)
    sample    one drawn in proportion to probability ** sharpness, for subword regularisation
"""

import heapq
import math
import random
from collections.abc import Mapping
from itertools import count
from typing import NamedTuple

UNKNOWN_PENALTY = 10.0  # below the worst score, as in SentencePiece


class Edge(NamedTuple):
    """A piece of the text, from character `start` to `stop`; `is_known` is False for a character that is no piece."""

    start: int
    stop: int
    score: float
    is_known: bool


Path = list[Edge]


class Lattice:
    """The pieces of `scores` that `text` has, by the place where they end.

    >>> lattice = Lattice("hug", {"h": -3.0, "u": -3.0, "g": -3.0, "hu": -4.0, "ug": -4.5})
    >>> ["hug"[edge.start : edge.stop] for edge in lattice.best()]
    ['hu', 'g']
    """

    def __init__(self, text: str, scores: Mapping[str, float], longest: int | None = None, worst: float | None = None):
        longest = max(map(len, scores), default=1) if longest is None else longest
        unknown = (min(scores.values(), default=0.0) if worst is None else worst) - UNKNOWN_PENALTY
        self.size = len(text)
        self.ending: list[Path] = [[] for _ in range(self.size + 1)]
        for start in range(self.size):
            if text[start] not in scores:
                self.ending[start + 1].append(Edge(start, start + 1, unknown, False))
            for stop in range(start + 1, min(start + longest, self.size) + 1):
                if (score := scores.get(text[start:stop])) is not None:
                    self.ending[stop].append(Edge(start, stop, score, True))

    def best(self) -> Path:
        """The most likely segmentation; among equals the one whose last pieces are longer."""
        _, last = self._best_scores()
        path: Path = []
        place = self.size
        while place:
            path.append(last[place])
            place = last[place].start
        return path[::-1]

    def n_best(self, n: int) -> list[tuple[Path, float]]:
        """The n most likely segmentations with their log probabilities, the best first; fewer where there are fewer.

        A path grows from the end of the text. What the best beginning of the text adds to it is known, so no path is
        touched before it is among the best.
        """
        best, _ = self._best_scores()
        order = count()  # decides between equals, so that paths are never compared
        open_paths: list[tuple[float, int, int, float, Path]] = [(-best[-1], next(order), self.size, 0.0, [])]
        found: list[tuple[Path, float]] = []
        while open_paths and len(found) < n:
            _, _, place, score, path = heapq.heappop(open_paths)
            if place == 0:
                found.append((path, score))
                continue
            for edge in self.ending[place]:
                total = score + edge.score
                entry = (-(best[edge.start] + total), next(order), edge.start, total, [edge, *path])
                heapq.heappush(open_paths, entry)
        return found

    def sample(self, random_numbers: random.Random, sharpness: float = 1.0) -> Path:
        """A segmentation, each with a chance proportional to its probability ** `sharpness` (0: all are equal)."""
        total = self.forward(sharpness)
        path: Path = []
        place = self.size
        while place:
            edges = self.ending[place]
            chances = [math.exp(total[edge.start] + sharpness * edge.score - total[place]) for edge in edges]
            path.append(random_numbers.choices(edges, chances)[0])
            place = path[-1].start
        return path[::-1]

    def forward(self, sharpness: float = 1.0) -> list[float]:
        """Of each place, log Σ probability ** sharpness over all segmentations of the text before it."""
        total = [0.0]
        for edges in self.ending[1:]:
            terms = [total[edge.start] + sharpness * edge.score for edge in edges]
            highest = max(terms)
            total.append(highest + math.log(math.fsum(math.exp(term - highest) for term in terms)))
        return total

    def _best_scores(self) -> tuple[list[float], list[Edge]]:
        """Of each place the best score of the text before it, and the last piece there."""
        best, last = [0.0], [Edge(0, 0, 0.0, False)]
        for edges in self.ending[1:]:
            edge = max(edges, key=lambda edge: best[edge.start] + edge.score)
            best.append(best[edge.start] + edge.score)
            last.append(edge)
        return best, last
