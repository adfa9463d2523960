"""Vectors of words from a text, a file of vectors or a model, with neighbours, analogies and pictures.

Writes a folder with vectors.txt (word2vec's text format), report.json, pca.png, tsne.png and, where embedding-atlas is
installed, an interactive page.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from train.embeddings.config import EmbeddingsConfig, Method, SkipGramConfig


@dataclass(frozen=True)
class Options:
    source: tyro.conf.Positional[Path]
    """A text (a sentence a line, words between spaces), a file of vectors in word2vec's text format, a run's folder or
    a Hugging Face directory. Of the last two, the token embeddings."""
    method: Method = "skip-gram"
    """From a text: skip-gram with negative sampling, or counts (PPMI) and their singular vectors."""
    skip_gram: tyro.conf.OmitArgPrefixes[SkipGramConfig] = SkipGramConfig()
    lowercase: bool = False
    """Read the text without capitals."""
    out: Path | None = None
    """Folder for the results. Default: embeddings/ and the source's name."""
    near: tuple[str, ...] = ()
    """Words whose neighbours are shown. Default: five of the source's own."""
    analogy: tuple[str, ...] = ()
    """Three words, or three and three: a is to b as c is to what?"""
    questions: Path | None = None
    """File of analogies with their answers, as word2vec's questions-words.txt."""
    k: int = 8
    """Words shown for each question."""
    points: int = 800
    """Words in the pictures, the first of the vocabulary."""


def main(options: Options) -> int:
    from rich.console import Console

    from train.embeddings import views
    from train.embeddings.work import work

    console = Console(highlight=False)
    config = EmbeddingsConfig(**{name: getattr(options, name) for name in EmbeddingsConfig.__dataclass_fields__})
    record = work(config, console)
    views.show(console, record)
    for line in record["left_out"]:
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"written: {config.folder}", markup=False, soft_wrap=True)
    return 0
