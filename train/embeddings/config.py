"""Settings of `train embeddings`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from llm_jax.models.embeddings.config import SkipGramConfig

Method = Literal["skip-gram", "ppmi"]


@dataclass(frozen=True)
class EmbeddingsConfig:
    source: tyro.conf.Positional[Path]
    """A text (a sentence a line, words between spaces), a file of vectors in word2vec's text format or GloVe's (the
    same without a header), a run's folder or a Hugging Face directory. Of the last two, the token embeddings."""

    method: Method = "skip-gram"
    """How vectors are made from a text: skip-gram with negative sampling, or counts (PPMI) and their singular vectors.
    ppmi takes width, window and min-count."""

    skip_gram: tyro.conf.OmitArgPrefixes[SkipGramConfig] = SkipGramConfig()

    lowercase: bool = False
    """Read the text without capitals."""

    out: Path | None = None
    """Folder for the results. Default: embeddings/ and the source's name."""

    near: tuple[str, ...] = ()
    """Words whose neighbours are shown. Default: five of the source's own."""

    analogy: tuple[str, ...] = ()
    """Three words, or three and three …: a is to b as c is to what?"""

    questions: Path | None = None
    """File of analogies with their answers, as word2vec's questions-words.txt: accuracy of each section."""

    k: int = 8
    """Words shown for each question."""

    points: int = 800
    """Words in the pictures, the first of the vocabulary."""

    @property
    def folder(self) -> Path:
        return self.out or Path("embeddings") / self.source.resolve().stem

    def check(self) -> None:
        """Raises ValueError for a number out of range, and FileExistsError for a folder that holds something else."""
        if self.k < 1 or self.points < 2:
            raise ValueError(f"--k must be at least 1 and --points at least 2; got {self.k} and {self.points}")
        if len(self.analogy) % 3:
            raise ValueError(f"--analogy takes words by threes, such as man king woman; got {len(self.analogy)} words")
        if not self.source.exists():
            raise FileNotFoundError(f"{self.source}: there is no such file or folder")
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise FileExistsError(
                f"{self.folder} is there already and would be lost: choose another --out, or remove it"
            )
