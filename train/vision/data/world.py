"""What a set of pictures with questions is, whoever made it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from llm_jax.shapes import Array, Float, Int

WORDS = 2  # of a part of a picture: its colour, and what it is


class Sample(NamedTuple):
    """Pictures, each with M questions."""

    pixels_BYXC: Float[Array, "B Y X C"]  # from 0 to 1
    labels_BK: Int[Array, "B K"]  # what is seen at each place: the number of a word; −1: nobody knows
    question_BM: Int[Array, "B M"]
    answer_BM: Int[Array, "B M"]


@dataclass(frozen=True)
class World:
    """A set of pictures.

    `draw(store, key, first, n)` is a pure function: example i of a key is the same in every batch.
    """

    name: str
    questions: tuple[str, ...]
    kinds: tuple[str, ...]  # of each question
    answers: tuple[str, ...]
    chances: Mapping[str, float]  # of each kind: the share that guessing gets
    places: tuple[tuple[str, ...], ...]  # what can be named: for each place the words
    image_size: int
    store: Any  # arrays that `draw` reads
    draw: Callable[[Any, Array, Any, int], Sample]
    tests: Mapping[str, Sample]  # by name
    n_asked: int  # questions of a training picture
    prior_QA: np.ndarray  # how often each answer is right in training

    @property
    def n_parts(self) -> int:
        """Parts of a picture that are named by themselves: as many as words, divided by `WORDS`."""
        return len(self.places) // WORDS

    def blind(self, questions: Any) -> np.ndarray:
        """The answer that is right most often in training: the best that can be said without looking."""
        return self.prior_QA.argmax(axis=1)[np.asarray(questions)]

    def kind(self, questions: Any) -> np.ndarray:
        """The kind of each question."""
        return np.array(self.kinds)[np.asarray(questions)]
