"""100 MB and 32,000 tokens: ours, Hugging Face's trainer, and minbpe on a size that it can bear. For `bpe_train.py`."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from corpora import hundred_megabytes
from measuring import machine, save, show

from llm_jax.tokenizer import train_bpe
from llm_jax.tokenizer.bpe.counting import count_pre_tokens
from llm_jax.tokenizer.hf_files.tokenizer_json import to_characters

VOCAB_SIZE = 32_000
SMALL_CHARACTERS, SMALL_VOCAB_SIZE = 300_000, 512


def compare(wikitext: Path | None, minbpe: Path | None, out: Path | None) -> None:
    """Prints the table and writes the JSON file."""
    texts = hundred_megabytes(wikitext)
    small = ["".join(texts[:3])[:SMALL_CHARACTERS]]
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        made = work()
        seconds[name] = time.perf_counter() - begun
        print(f"{name}: {seconds[name]:.2f} s", flush=True)
        return made

    counts = timed("of which counting", lambda: count_pre_tokens(texts, processes=2))
    ours = timed("ours", lambda: train_bpe(texts, VOCAB_SIZE, special_tokens=(), processes=2))
    theirs = timed("Hugging Face (Rust)", lambda: train_hugging_face(texts, VOCAB_SIZE))
    equal = [f"{to_characters(a)} {to_characters(b)}" for a, b in ours.merges] == merges_of(theirs)
    small_ours = timed("ours, small", lambda: train_bpe(small, SMALL_VOCAB_SIZE, special_tokens=()))
    timed("Hugging Face (Rust), small", lambda: train_hugging_face(small, SMALL_VOCAB_SIZE))
    small_equal = None
    if minbpe:
        sys.path.insert(0, str(minbpe))
        from minbpe import RegexTokenizer  # pyright: ignore[reportMissingImports]
        from minbpe.regex import GPT2_SPLIT_PATTERN  # pyright: ignore[reportMissingImports]

        tokenizer = RegexTokenizer(GPT2_SPLIT_PATTERN)
        timed("minbpe, small", lambda: tokenizer.train(small[0], SMALL_VOCAB_SIZE))
        small_equal = sum(token in small_ours.ranks for token in tokenizer.vocab.values())
    result = {
        "characters": sum(map(len, texts)),
        "distinct_pre_tokens": len(counts),
        "vocab_size": VOCAB_SIZE,
        "merges_equal_to_hugging_face": equal,
        "small_characters": len(small[0]),
        "small_vocab_size": SMALL_VOCAB_SIZE,
        "small_tokens_shared_with_minbpe": small_equal,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "machine": machine(),
    }
    title = (
        f"{result['characters'] / 1e6:.0f} M characters, {len(counts):,} distinct pre-tokens, {VOCAB_SIZE:,} tokens; "
        f"small: {SMALL_CHARACTERS:,} characters, {SMALL_VOCAB_SIZE} tokens; merges equal: {equal}"
    )
    show(title, ["seconds"], [(name, f"{value:.2f}") for name, value in seconds.items()])
    save(out, result)


def train_hugging_face(texts: Sequence[str], vocab_size: int):
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = byte_level
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=byte_level.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def merges_of(tokenizer: Any) -> list[str]:
    """The merges of a tokenizer of Hugging Face's library, each as "a b"."""
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]
