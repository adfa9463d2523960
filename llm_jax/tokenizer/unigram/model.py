"""A unigram vocabulary: the most likely segmentation of a text, the n most likely ones, or one drawn by chance."""

import random
from functools import cached_property

from llm_jax.tokenizer.protocol import check_text
from llm_jax.tokenizer.sentencepiece.model_file import UNIGRAM
from llm_jax.tokenizer.sentencepiece.vocabulary import SentencePieceVocabulary
from llm_jax.tokenizer.unigram.lattice import Lattice, Path


class UnigramVocabulary(SentencePieceVocabulary):
    """The score of a piece is its log probability."""

    algorithm = UNIGRAM

    def lattice(self, normalised: str) -> Lattice:
        return Lattice(normalised, self.scores, self.longest, self._worst)

    def segment(self, text: str) -> list[str]:
        return _pieces(text, self.lattice(text).best())

    def n_best(self, text: str, n: int) -> list[tuple[list[int], float]]:
        """The ids of the n most likely segmentations, the best first, each with its log probability."""
        check_text(text)
        normalised = self.normalization.apply(text)
        found = self.lattice(normalised).n_best(n)
        return [(self.ids_of(_pieces(normalised, path)), score) for path, score in found]

    def sample(self, text: str, random_numbers: random.Random, sharpness: float = 1.0) -> list[int]:
        """The ids of a segmentation drawn in proportion to probability ** `sharpness` (subword regularisation)."""
        check_text(text)
        normalised = self.normalization.apply(text)
        return self.ids_of(_pieces(normalised, self.lattice(normalised).sample(random_numbers, sharpness)))

    @cached_property
    def _worst(self) -> float:
        return min(self.scores.values(), default=0.0)


def _pieces(text: str, path: Path) -> list[str]:
    return [text[edge.start : edge.stop] for edge in path]
