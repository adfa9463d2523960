"""Training a byte-pair vocabulary: ours in Python, Hugging Face's in Rust, and the textbook's algorithm.

All get the Python standard library's own sources, GPT-2's split pattern and the same number of tokens; Hugging Face's
trainer gets one thread, since ours uses one. The textbook, which counts every pair anew for each merge, only gets a
small text, on which ours is timed too. They take turns; medians of processor time are shown, so that other
load matters less.

With --large, 100 MB of WikiText-2 and the standard library with variation and 32,000 tokens, on two processes and two
threads, in seconds of the clock; minbpe, which merges in every word of the text, gets what it can bear.

    python benchmarks/bpe_train.py --out benchmarks/results/bpe_train.json
    python benchmarks/bpe_train.py --large --wikitext DATA/text --minbpe CLONE --out benchmarks/results/bpe_large.json
"""

import os
import platform
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import bpe_large
import tyro
from bpe_large import train_hugging_face
from measuring import save
from rich.console import Console
from rich.table import Table

from llm_jax.tokenizer import BytePairTokenizer, train_bpe
from llm_jax.tokenizer.bpe.train import count_pre_tokens, learn_merges
from train.prepare.sources.text import standard_library

os.environ.setdefault("RAYON_NUM_THREADS", "2" if "--large" in sys.argv else "1")  # before tokenizers is imported


@dataclass(frozen=True)
class Options:
    megabytes: float = 12.0
    """Text to train on, in MB of 10^6 characters."""

    vocab_size: int = 4096
    """Tokens to learn, the 256 bytes included."""

    small_kilobytes: int = 100
    """Text for the comparison with the textbook's algorithm, in KB."""

    small_vocab_size: int = 512
    """Tokens to learn in that comparison."""

    repeats: int = 3
    """How often each side is timed."""

    large: bool = False
    """Compare on 100 MB and 32,000 tokens instead."""

    wikitext: Path | None = None
    """Folder with wikitext-2.valid.txt and wikitext-2.test.txt, for --large."""

    minbpe: Path | None = None
    """A clone of karpathy/minbpe, for --large."""

    out: Path | None = None
    """JSON file for the results."""


def main(options: Options) -> None:
    if options.large:
        bpe_large.compare(options.wikitext, options.minbpe, options.out)
        return
    texts = sources(int(options.megabytes * 1e6))
    small = ["".join(texts)[: options.small_kilobytes * 1000]]
    contestants: dict[str, Callable[[], object]] = {
        "ours": lambda: train_bpe(texts, options.vocab_size, special_tokens=()),
        "of which counting pre-tokens": lambda: count_pre_tokens(texts),
        "Hugging Face tokenizers (Rust)": lambda: train_hugging_face(texts, options.vocab_size),
        "ours, small text": lambda: train_bpe(small, options.small_vocab_size, special_tokens=()),
        "textbook, small text": lambda: learn_merges_naively(small, options.small_vocab_size - 256),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(options.repeats):
        for name, contestant in contestants.items():
            begun = time.process_time()
            contestant()
            seconds[name].append(time.process_time() - begun)
    assert learn_merges(count_pre_tokens(small), 50) == learn_merges_naively(small, 50)
    result = {
        "megabytes": sum(map(len, texts)) / 1e6,
        "distinct_pre_tokens": len(count_pre_tokens(texts)),
        "vocab_size": options.vocab_size,
        "small_kilobytes": options.small_kilobytes,
        "small_vocab_size": options.small_vocab_size,
        "median_seconds": {name: statistics.median(times) for name, times in seconds.items()},
        "seconds": seconds,
        "tokens_for_the_text": compressed_lengths(texts, options.vocab_size),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    show(result)
    save(options.out, result)


def sources(n_characters: int) -> list[str]:
    texts: list[str] = []
    for path in standard_library().paths:
        texts.append(path.read_text(encoding="utf-8"))
        if sum(map(len, texts)) >= n_characters:
            break
    return texts


def learn_merges_naively(texts: Sequence[str], n_merges: int) -> list[tuple[int, int]]:
    """Sennrich et al. 2016, algorithm 1, over each distinct pre-token with its count."""
    words = {tuple(word.encode()): count for word, count in count_pre_tokens(texts).items()}
    merges = []
    for new in range(256, 256 + n_merges):
        counts: Counter[tuple[int, int]] = Counter()
        for word, count in words.items():
            for pair in pairwise(word):
                counts[pair] += count
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        words = {replaced(word, best, new): count for word, count in words.items()}
    return merges


def replaced(word: tuple[int, ...], pair: tuple[int, int], new: int) -> tuple[int, ...]:
    out: list[int] = []
    for number in word:
        if out and (out[-1], number) == pair:
            out[-1] = new
        else:
            out.append(number)
    return tuple(out)


def compressed_lengths(texts: Sequence[str], vocab_size: int) -> dict[str, int]:
    """Tokens of the training text under both vocabularies: equal but for the order of ties."""
    from tokenizers import Tokenizer

    theirs: Tokenizer = train_hugging_face(texts, vocab_size)
    ours: BytePairTokenizer = train_bpe(texts, vocab_size, special_tokens=())
    return {
        "ours": sum(len(ours.encode_array(text)) for text in texts),
        "Hugging Face tokenizers (Rust)": sum(len(theirs.encode(text).ids) for text in texts),
    }


def show(result: dict) -> None:
    title = (
        f"{result['megabytes']:.1f} MB, {result['distinct_pre_tokens']:,} distinct pre-tokens, "
        f"{result['vocab_size']:,} tokens; small: {result['small_kilobytes']} KB, {result['small_vocab_size']} tokens"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("one thread")
    for column in ("seconds", "tokens of the text"):
        table.add_column(column, justify="right")
    for name, seconds in result["median_seconds"].items():
        length = result["tokens_for_the_text"].get(name)
        table.add_row(name, f"{seconds:.2f}", f"{length:,}" if length else "")
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
