"""Small parquet files with FineWeb's columns, whose documents pass every filter or are made to fail one."""

import random
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def prose(seed: int) -> str:
    """English enough for every filter: sentences of common words, no line twice."""
    rng = random.Random(seed)
    common = ["the", "of", "and", "to", "in", "that", "with", "have", "be"]
    rare = [f"{a}{b}" for a in ("moun", "ri", "for", "gar", "win", "sum") for b in ("tain", "ver", "est", "den", "ter")]
    sentences = []
    for _ in range(24):
        words = [rng.choice(common if i % 2 else rare) for i in range(14)]
        sentences.append(" ".join(words).capitalize() + ".")
    return "\n".join(" ".join(sentences[i : i + 3]) for i in range(0, 24, 3))


def nearly(text: str) -> str:
    """The same with one word changed: a near-duplicate."""
    return text.replace("the", "a", 1)


def write_parquet(
    file: Path, texts: Sequence[str], languages: Sequence[str] | None = None, scores: Sequence[float] | None = None
) -> None:
    """Sure to be English unless told otherwise."""
    n = len(texts)
    columns = {
        "text": texts,
        "id": [f"{file.stem}-{i}" for i in range(n)],
        "url": [f"https://example.org/{i}" for i in range(n)],
        "language": languages or ["en"] * n,
        "language_score": scores or [0.9] * n,
    }
    pq.write_table(pa.table(columns), file)
