"""Near-duplicates by datatrove's MinHash: clusters, how alike their documents are, and the S-curve against measurement.

Two documents are candidates where all r hashes of at least one of b buckets agree. For documents that share a part s of
their shingles (Jaccard), that has the probability 1 − (1 − s^r)^b (Leskovec et al., Mining of Massive Datasets, 3.4).
The measurement makes pairs of known similarity: the shingles of a document, some of them replaced.
"""

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datatrove.data import Document as Piece
from datatrove.pipeline.dedup.minhash import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)

from train.critique.documents import Document
from train.critique.removal import SHOWN, wilson
from train.prepare.curation.recipe import MINHASH
from train.prepare.curation.stage import redirect_stderr

Record = dict[str, Any]
PAIRS, BINS = 2000, 20
FEWEST_SHINGLES = 40  # of a document that pairs are made of: with fewer, similarities are coarse
MOST_CLUSTERS = 20  # shown


class _Removed:
    """Takes the place of datatrove's writer and keeps what the filter removes."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []

    def __enter__(self) -> "_Removed":
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def write(self, piece: Piece, rank: int = 0) -> None:
        self.pieces.append(piece)


def duplicates(documents: Sequence[Document], tokens: np.ndarray, tokenizer: Any, seed: int) -> Record:
    """Clusters, the similarity of what is removed with what is kept for it, and the S-curve."""
    with tempfile.TemporaryDirectory() as folder:
        signature = MinhashDedupSignature(f"{folder}/signatures", config=MINHASH, language=tokenizer)
        kept, removed = _run(documents, signature, Path(folder))
        shingles = {}

        def shingles_of(i: int) -> np.ndarray:
            if i not in shingles:
                shingles[i] = np.unique(signature.get_shingles(documents[i].text))
            return shingles[i]

        clusters: dict[Any, list[int]] = {}
        for piece in (*kept, *removed):
            if (name := piece.metadata.get("minhash_cluster_id", -1)) != -1:
                clusters.setdefault(name, []).append(int(piece.id))
        gone = np.array([int(piece.id) for piece in removed], int)
        likeness = [
            jaccard(shingles_of(members[0]), shingles_of(other))
            for members in clusters.values()
            for other in members[1:]
        ]
        rng = np.random.default_rng(seed)
        curve = _curve(signature, _suitable(shingles_of, len(documents), rng), rng)
    sizes = Counter(len(members) for members in clusters.values())
    largest = sorted(clusters.values(), key=len, reverse=True)[:MOST_CLUSTERS]
    return {
        "n_grams": MINHASH.n_grams,
        "buckets": MINHASH.num_buckets,
        "hashes": MINHASH.hashes_per_bucket,
        "removed": {"documents": len(gone), "tokens": int(tokens[gone].sum()) if len(gone) else 0},
        "cluster_sizes": [[size, sizes[size]] for size in sorted(sizes)],
        "similarity_with_kept": [round(one, 4) for one in sorted(likeness)],
        "clusters": [
            {
                "documents": len(members),
                "places": [documents[i].place for i in members[:5]],
                "text": documents[members[0]].text[:SHOWN],
            }
            for members in largest
        ],
        "curve": curve,
    }


def jaccard(first: np.ndarray, second: np.ndarray) -> float:
    """Shared shingles over all; 0 for two without any."""
    shared = len(np.intersect1d(first, second))
    return shared / max(1, len(np.union1d(first, second)))


def s_curve(similarity: np.ndarray | float, buckets: int, hashes: int) -> Any:
    """The probability that two documents become candidates."""
    return 1 - (1 - np.asarray(similarity, float) ** hashes) ** buckets


def _run(documents: Sequence[Document], signature: Any, folder: Path) -> tuple[list[Piece], list[Piece]]:
    """The four stages of datatrove's MinHash in one process: kept and removed documents, with their cluster."""

    def pieces() -> Any:
        return (Piece(text=one.text, id=str(i)) for i, one in enumerate(documents))

    removed = _Removed()
    names: dict[str, str] = {name: str(folder / name) for name in ("signatures", "buckets", "removed")}
    with redirect_stderr(folder / "logs"):
        signature.run(pieces(), 0, 1)
        for bucket in range(MINHASH.num_buckets):
            MinhashDedupBuckets(names["signatures"], names["buckets"], config=MINHASH).run(
                None, bucket, MINHASH.num_buckets
            )
        MinhashDedupCluster(names["buckets"], names["removed"], config=MINHASH, save_cluster_id=True).run(None, 0, 1)
        last = MinhashDedupFilter(names["removed"], exclusion_writer=removed, load_cluster_ids=True)  # pyright: ignore
        kept = list(last.run(pieces(), 0, 1))
    return kept, removed.pieces


def _suitable(shingles_of: Any, n: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Shingles of some documents that are long enough to make pairs of."""
    found = []
    for i in rng.permutation(n)[:400]:
        if len(one := shingles_of(int(i))) >= FEWEST_SHINGLES:
            found.append(one)
        if len(found) == 60:
            break
    return found


def _curve(signature: Any, shingles: list[np.ndarray], rng: np.random.Generator) -> list[Record]:
    """Pairs of every similarity, whether a bucket agreed, and what the formula says. Empty without long documents."""
    if len(shingles) < 2:
        return []
    similarity, agreed = [], []
    for number in range(PAIRS):
        first = shingles[number % len(shingles)]
        second = _altered(first, (number + 0.5) / PAIRS, rng)
        similarity.append(jaccard(first, second))
        agreed.append(_agree(signature, first, second))
    at = np.rint(np.array(similarity) * BINS).astype(int)  # the middle of a bin is a round number, such as 0.75
    rows = []
    for b in range(BINS + 1):
        if (here := at == b).any():
            n, k = int(here.sum()), int(np.array(agreed)[here].sum())
            expected = s_curve(np.array(similarity)[here], MINHASH.num_buckets, MINHASH.hashes_per_bucket).mean()
            rows.append(
                {
                    "similarity": float(np.array(similarity)[here].mean()),
                    "pairs": n,
                    "agreed": k,
                    "measured": k / n,
                    "interval": wilson(k, n),
                    "expected": float(expected),
                }
            )
    return rows


def _altered(shingles: np.ndarray, similarity: float, rng: np.random.Generator) -> np.ndarray:
    """The set with so many members replaced by random ones that the Jaccard similarity is near the wanted one.

    n shared of m in each: s = n/(2m − n), so n = 2ms/(1 + s).
    """
    shared = round(2 * len(shingles) * similarity / (1 + similarity))
    new = rng.integers(0, 1 << 63, len(shingles) - shared, dtype=np.uint64).astype(shingles.dtype)
    kept = rng.choice(len(shingles), shared, replace=False)
    return np.unique(np.concatenate([shingles.reshape(-1)[kept], new]))


def _agree(signature: Any, first: np.ndarray, second: np.ndarray) -> bool:
    one, other = (signature.get_signature(x.reshape(-1, 1)) for x in (first, second))
    return any(list(a) == list(b) for a, b in zip(one, other, strict=True))
