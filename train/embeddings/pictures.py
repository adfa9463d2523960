"""Vectors in the plane: principal components, and t-SNE (van der Maaten & Hinton 2008; scikit-learn's)."""

import importlib.util
import warnings
from pathlib import Path

import numpy as np

from llm_jax.files import replacing
from llm_jax.models.embeddings.vectors import Vectors

INK, POINT = "#1f2933", "#1d5fbf"
MOST_LABELS, LEAST_POINTS = 220, 6
WITHOUT_TSNE = "t-SNE left out: it needs scikit-learn; install the extra `embeddings`"


def principal(matrix: np.ndarray, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """The first principal components of the rows, and the share of the variance that each has.

    A component's sign is chosen so that its largest entry is positive: otherwise it would depend on the machine.
    """
    centred = matrix - matrix.mean(axis=0)
    left, sigma, right = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    count = min(count, len(sigma))
    sign = np.sign(right[np.arange(count), np.abs(right[:count]).argmax(axis=1)])
    total = max(float((sigma**2).sum()), 1e-30)
    return left[:, :count] * sigma[:count] * sign, sigma[:count] ** 2 / total


def has_tsne() -> bool:
    """Whether scikit-learn is installed."""
    return importlib.util.find_spec("sklearn") is not None


def tsne(unit: np.ndarray) -> np.ndarray:
    """Two coordinates for each unit vector; near ones stay near, distances between groups mean nothing."""
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(unit) - 1) / 3)
    return TSNE(init="pca", perplexity=perplexity, random_state=0).fit_transform(unit)


def draw(path: Path, vectors: Vectors, xy: np.ndarray, title: str, axes_names: tuple[str, str]) -> None:
    """A scatter plot with the first words written beside their points, whole or not at all."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(11, 8), dpi=110)
    axes.scatter(xy[:, 0], xy[:, 1], s=5, color=POINT, alpha=0.5, linewidths=0)
    for word, (x, y) in zip(vectors.words[:MOST_LABELS], xy, strict=False):
        axes.annotate(
            word, (x, y), fontsize=6.5, color=INK, xytext=(2, 1), textcoords="offset points", parse_math=False
        )
    axes.set_title(title, loc="left", parse_math=False)
    axes.set_xlabel(axes_names[0])
    axes.set_ylabel(axes_names[1])
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    with replacing(path) as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of a script that the machine has no font for
        figure.savefig(file, format="png")
    plt.close(figure)


def write(folder: Path, vectors: Vectors, points: int, title: str) -> tuple[np.ndarray, list[str]]:
    """pca.png and, with scikit-learn, tsne.png. Returns the better coordinates, and the lines to print.

    With fewer than six words nothing is drawn.
    """
    chosen = Vectors(vectors.words[:points], vectors.matrix[:points])
    if len(chosen.words) < LEAST_POINTS:
        return np.zeros((0, 2)), [f"pictures left out: {len(chosen.words)} words are too few"]
    xy, shares = principal(chosen.unit)
    xy = np.pad(xy, ((0, 0), (0, 2 - xy.shape[1])))
    labels = [f"component {i + 1}, {share:.0%} of the variance" for i, share in enumerate(shares)]
    draw(folder / "pca.png", chosen, xy, f"{title}: principal components", (labels[0], labels[-1]))
    if not has_tsne():
        return xy, [WITHOUT_TSNE]
    xy = tsne(chosen.unit)
    draw(folder / "tsne.png", chosen, xy, f"{title}: t-SNE", ("", ""))
    return xy, []
