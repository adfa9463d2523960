"""Encoding with GPT-2's vocabulary on one thread: ours in Python, ours on tiktoken's core, tiktoken, Hugging Face.

The text is the Python standard library's own sources and, where `LLM_JAX_DATA` has them, tinyshakespeare and all 17
languages of FLORES. Each side gets the documents one by one and must return the same ids. Caches start empty each time.
They take turns; medians of processor time are shown, so that other load matters less.

    python benchmarks/bpe_encode.py --out benchmarks/results/bpe_encode.json
"""

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from measuring import save
from rich.console import Console
from rich.table import Table

from llm_jax.tokenizer import BytePairTokenizer, load
from train.prepare.sources.text import standard_library

os.environ.setdefault("RAYON_NUM_THREADS", "1")  # before tokenizers is imported

DATA = os.environ.get("LLM_JAX_DATA")
if DATA:
    os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(Path(DATA) / "tiktoken"))


@dataclass(frozen=True)
class Options:
    megabytes: float = 4.0
    """The most to take of each text, in MB of 10^6 characters."""

    repeats: int = 3
    """How often each side is timed."""

    out: Path | None = None
    """JSON file for the results."""


def main(options: Options) -> None:
    speeds: dict[str, dict[str, float]] = {}
    for name, documents in texts(int(options.megabytes * 1e6)).items():
        n_bytes = sum(len(document.encode()) for document in documents)
        seconds: dict[str, list[float]] = {}
        for _ in range(options.repeats):
            ids = []
            for side, encode in contestants().items():
                encode("warm up")
                begun = time.process_time()
                ids.append([encode(document) for document in documents])
                seconds.setdefault(side, []).append(time.process_time() - begun)
            assert all(np.array_equal(a, b) for other in ids[1:] for a, b in zip(ids[0], other, strict=True))
        speeds[name] = {side: n_bytes / 1e6 / statistics.median(times) for side, times in seconds.items()}
    result = {
        "megabytes_per_second": speeds,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    show(speeds)
    save(options.out, result)


def texts(limit: int) -> dict[str, list[str]]:
    """Documents by kind, at most `limit` characters of each kind."""
    paths = {"Python": list(standard_library().paths)}
    if DATA:
        paths["Shakespeare"] = [Path(DATA) / "text" / "tinyshakespeare.txt"]
        paths["FLORES"] = sorted((Path(DATA) / "flores200").glob("*.dev"))
    chosen: dict[str, list[str]] = {}
    for name, files in paths.items():
        chosen[name] = []
        for file in files:
            if sum(map(len, chosen[name])) < limit:
                chosen[name].append(file.read_text(encoding="utf-8"))
    return chosen


def contestants() -> dict[str, Callable[[str], object]]:
    """Each side's function from a text to its ids, newly made."""
    import tiktoken
    from tokenizers import Tokenizer

    ours = load("gpt2")
    assert isinstance(ours, BytePairTokenizer)
    with tempfile.TemporaryDirectory() as folder:
        ours.save(folder)
        theirs = Tokenizer.from_file(f"{folder}/tokenizer.json")
    return {
        "ours, Python (encode)": ours.encode,
        "ours, Rust core (encode_array)": ours.encode_array,
        "tiktoken": tiktoken.get_encoding("gpt2").encode_ordinary,
        "Hugging Face tokenizers": lambda text: theirs.encode(text).ids,
    }


def show(speeds: dict[str, dict[str, float]]) -> None:
    table = Table(title="MB/s on one thread, GPT-2's vocabulary", title_justify="left")
    table.add_column("")
    for name in speeds:
        table.add_column(name, justify="right")
    for side in next(iter(speeds.values())):
        table.add_row(side, *(f"{speeds[name][side]:.1f}" for name in speeds))
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
