"""Vectors of words from a text, a file of vectors or a model, with neighbours, analogies and pictures.

Writes a folder with vectors.txt (word2vec's text format), report.json, pca.png, tsne.png and, where embedding-atlas is
installed, an interactive page.
"""

from train.embeddings.config import EmbeddingsConfig

Options = EmbeddingsConfig


def main(options: Options) -> int:
    from rich.console import Console

    from train.embeddings import views
    from train.embeddings.work import work

    console = Console(highlight=False)
    record = work(options, console)
    views.show(console, record)
    for line in record["left_out"]:
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"written: {options.folder}", markup=False, soft_wrap=True)
    return 0
