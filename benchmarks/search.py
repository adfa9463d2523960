"""Exact search and index libraries: milliseconds for a question, memory, seconds to build, recall@10.

Unit vectors of 384 numbers in clusters, as sentence encoders give them; questions are vectors that were moved a little.
Ours reads every vector; so does FAISS's flat index. usearch walks a graph (HNSW, Malkov & Yashunin 2018), which has to
be built before and misses some. Recall is measured against sorting all scores in NumPy.

    python benchmarks/search.py --out benchmarks/results/search.json     # uv sync --group rivals
"""

import importlib.util
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from measuring import in_turns, machine, medians, save, show

from llm_jax.models.embeddings.nearest import top_k

K = 10


@dataclass(frozen=True)
class Options:
    sizes: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    width: int = 384
    graph_up_to: int = 100_000
    """The largest size for which usearch builds its graph."""
    together: int = 32
    """Questions asked together."""
    repeats: int = 7
    out: Path | None = None
    """JSON file for the results."""


def main(options: Options) -> None:
    results = {}
    for size in options.sizes:
        results[str(size)] = measure(size, options)
    columns = ["ms, 1 question", f"ms, {options.together}", "recall@10", "build s", "MB"]
    for size, sides in results.items():
        rows = [
            [name, *(f"{side.get(key, float('nan')):.3g}" for key in ("one", "many", "recall", "build", "megabytes"))]
            for name, side in sides.items()
        ]
        show(f"{int(size):,} vectors of {options.width}", columns, rows)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"largest memory of the process: {peak:,.0f} MB")
    save(options.out, {"sizes": results, "peak_megabytes": round(peak), "machine": machine()})


def measure(size: int, options: Options) -> dict[str, dict[str, float]]:
    random = np.random.default_rng(0)
    vectors = clustered(random, size, options.width)
    moved = vectors[random.integers(0, size, options.together)]
    queries = normalised(moved + 0.04 * random.standard_normal(moved.shape, np.float32))
    right = [set(np.argsort(-row)[:K].tolist()) for row in queries @ vectors.T]
    sides = {"ours, exact": ours(vectors), "NumPy, exact": by_numpy(vectors)}
    if importlib.util.find_spec("faiss"):
        sides["FAISS, flat"] = by_faiss(vectors)
    if importlib.util.find_spec("usearch") and size <= options.graph_up_to:
        sides["usearch, HNSW"] = by_usearch(vectors)
    seconds = medians(
        in_turns(
            {f"{name}|{key}": asked(call, part) for name, (call, *_) in sides.items()
             for key, part in (("one", queries[:1]), ("many", queries))},
            options.repeats,
        )
    )  # fmt: skip
    found = {}
    for name, (call, build, megabytes) in sides.items():
        places = np.asarray(call(queries))
        recall = np.mean([len(one & set(row.tolist())) / K for one, row in zip(right, places, strict=True)])
        found[name] = {
            "one": 1e3 * seconds[f"{name}|one"],
            "many": 1e3 * seconds[f"{name}|many"],
            "recall": float(recall),
            "build": build,
            "megabytes": megabytes,
        }
    return found


def asked(call: Callable[[np.ndarray], Any], queries: np.ndarray) -> Callable[[], Any]:
    return lambda: call(queries)


def clustered(random: np.random.Generator, size: int, width: int) -> np.ndarray:
    """Around one centre for each hundred vectors."""
    centres = random.standard_normal((max(size // 100, 1), width), np.float32)
    vectors = np.empty((size, width), np.float32)
    for start in range(0, size, 100_000):
        part = slice(start, min(start + 100_000, size))
        count = part.stop - part.start
        near = centres[random.integers(0, len(centres), count)]
        vectors[part] = normalised(near + 0.8 * random.standard_normal((count, width), np.float32))
    return vectors


def normalised(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


Side = tuple[Callable[[np.ndarray], Any], float, float]  # the call, seconds to build, MB


def ours(vectors: np.ndarray) -> Side:
    begun = time.perf_counter()
    on_device = jax.block_until_ready(jax.device_put(vectors))
    seconds = time.perf_counter() - begun
    return lambda queries: np.asarray(top_k(jax.device_put(queries), on_device, K)[1]), seconds, vectors.nbytes / 1e6


def by_numpy(vectors: np.ndarray) -> Side:
    def call(queries: np.ndarray) -> np.ndarray:
        scores = queries @ vectors.T
        best = np.argpartition(-scores, K, axis=1)[:, :K]
        return np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1), axis=1)

    return call, 0.0, vectors.nbytes / 1e6


def by_faiss(vectors: np.ndarray) -> Side:
    import faiss

    begun = time.perf_counter()
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return lambda queries: index.search(queries, K)[1], time.perf_counter() - begun, vectors.nbytes / 1e6


def by_usearch(vectors: np.ndarray) -> Side:
    from usearch.index import Index

    begun = time.perf_counter()
    index = Index(ndim=vectors.shape[1], metric="ip", dtype="f32", expansion_search=128)
    index.add(np.arange(len(vectors)), vectors)
    seconds = time.perf_counter() - begun
    return lambda queries: index.search(queries, K).keys.reshape(len(queries), -1), seconds, index.memory_usage / 1e6


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
