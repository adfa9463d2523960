"""Skip-gram: ours beside gensim, the same text, settings and passes, in turns; words a second and quality.

Quality: rank correlation with people's judgements of similarity (WordSim-353, which gensim brings along), and accuracy
on word2vec's own analogies where a file is given. Words a second count every word of the text, as gensim does, and
leave out reading it and counting its words, on both sides. PPMI with SVD stands beside them.

    python benchmarks/embeddings.py TEXT… --out benchmarks/results/embeddings.json     # uv sync --group rivals
"""

import importlib.util
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from measuring import machine, save, show
from scipy.stats import spearmanr

from llm_jax.models.embeddings import counting, training, vocabulary
from llm_jax.models.embeddings.config import SkipGramConfig
from llm_jax.models.embeddings.nearest import analogies
from llm_jax.models.embeddings.vectors import Vectors


@dataclass(frozen=True)
class Options:
    texts: tyro.conf.Positional[tuple[Path, ...]]
    """Texts, a sentence a line; read without capitals."""
    questions: Path | None = None
    """word2vec's questions-words.txt."""
    width: int = 100
    epochs: int = 10
    repeats: int = 3
    threads: int = 2
    """Of gensim."""
    out: Path | None = None
    """JSON file for the results."""


def main(options: Options) -> None:
    lines = [line.lower().split() for path in options.texts for line in path.read_text("utf-8").split("\n")]
    lines = [line for line in lines if line]
    n_words = sum(map(len, lines))
    config = SkipGramConfig(width=options.width, epochs=options.epochs)
    words = vocabulary.count(lines, config.min_count)
    text = vocabulary.encode(lines, words)
    training.train(text, words, SkipGramConfig(width=options.width, epochs=1))  # compiles
    sides = {"ours": lambda seed: of_ours(text, words, config, seed)}
    if importlib.util.find_spec("gensim"):
        sides["gensim"] = lambda seed: of_gensim(lines, words, config, options.threads, seed)
    runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in sides}
    for seed in range(options.repeats):
        for name, call in sides.items():
            matrix, seconds = call(seed)
            runs[name].append((n_words * config.epochs / seconds, *quality(Vectors(words.words, matrix), options)))
    begun = time.perf_counter()
    matrix = counting.vectors(text, words, options.width, config.window)
    runs["PPMI and SVD"] = [(n_words / (time.perf_counter() - begun), *quality(Vectors(words.words, matrix), options))]
    results = {
        name: dict(zip(("words_per_second", "wordsim353", "analogies"), np.median(found, axis=0), strict=True))
        for name, found in runs.items()
    }
    title = f"{n_words:,} words, {len(words):,} different, {config.epochs} passes, {options.width} numbers"
    rows = [
        [name, f"{side['words_per_second'] / 1e3:,.0f}k", f"{side['wordsim353']:.1f}", f"{side['analogies']:.2%}"]
        for name, side in results.items()
    ]
    show(title, ["words/s", "WordSim-353 ×100", "analogies"], rows)
    save(options.out, {"what": title, "median_of": options.repeats, "sides": results, "machine": machine()})


def of_ours(text, words, config, seed: int) -> tuple[np.ndarray, float]:
    from dataclasses import replace

    begun = time.perf_counter()
    found = np.asarray(training.train(text, words, replace(config, seed=seed)).neighbour)
    return found, time.perf_counter() - begun


def of_gensim(lines, words, config, threads: int, seed: int) -> tuple[np.ndarray, float]:
    from gensim.models import Word2Vec

    model = Word2Vec(
        vector_size=config.width, window=config.window, min_count=config.min_count, sg=1, negative=config.negatives,
        sample=config.subsample, alpha=config.rate, epochs=config.epochs, workers=threads, seed=seed + 1,
    )  # fmt: skip
    model.build_vocab(lines)
    begun = time.perf_counter()
    model.train(lines, total_examples=len(lines), epochs=config.epochs)
    seconds = time.perf_counter() - begun
    return np.stack([model.wv[word] for word in words.words]), seconds


def quality(vectors: Vectors, options: Options) -> tuple[float, float]:
    """(Spearman × 100 on WordSim-353, accuracy on the analogies); NaN where the file is not there."""
    correlation = accuracy = float("nan")
    if (spec := importlib.util.find_spec("gensim")) and spec.origin:
        path = Path(spec.origin).parent / "test/test_data/wordsim353.tsv"
        rows = [line.lower().split("\t") for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
        known = [row for row in rows if row[0] in vectors.number and row[1] in vectors.number]
        ids = [[vectors.number[row[i]] for row in known] for i in (0, 1)]
        cosines = (vectors.unit[ids[0]] * vectors.unit[ids[1]]).sum(axis=1)
        found: Any = spearmanr(cosines, [float(row[2]) for row in known])
        correlation = 100 * float(found.statistic)
    if options.questions:
        lines = [line.lower().split() for line in options.questions.read_text("utf-8").splitlines() if line[:1] != ":"]
        known = [line for line in lines if all(word in vectors.number for word in line)]
        best = [
            found[0][0]
            for start in range(0, len(known), 512)
            for found in analogies(vectors, [(a, b, c) for a, b, c, _ in known[start : start + 512]], 1)
        ]
        accuracy = float(np.mean([word == line[3] for word, line in zip(best, known, strict=True)]))
    return correlation, accuracy


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
