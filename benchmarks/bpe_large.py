"""100 MB and 32,000 tokens: ours, Hugging Face's trainer, and minbpe on a size that it can bear. For `bpe_train.py`."""

import json
import resource
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
SMALL_CHARACTERS, SMALL_VOCAB_SIZE = 60_000, 512


def compare(wikitext: Path | None, minbpe: Path | None, out: Path | None) -> None:
    """Prints the table and writes the JSON file."""
    texts = hundred_megabytes(wikitext)
    small = ["".join(texts[:3])[:SMALL_CHARACTERS]]
    seconds: dict[str, tuple[float, float]] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        begun, begun_processor = time.perf_counter(), processor_seconds()
        made = work()
        seconds[name] = (time.perf_counter() - begun, processor_seconds() - begun_processor)
        print(f"{name}: {seconds[name][0]:.2f} s, {seconds[name][1]:.2f} s of processors", flush=True)
        return made

    counts = timed("ours, counting alone", lambda: count_pre_tokens(texts, processes=2))
    ours = timed("ours", lambda: train_bpe(texts, VOCAB_SIZE, special_tokens=(), processes=2))
    theirs = timed("Hugging Face (Rust)", lambda: train_hugging_face(texts, VOCAB_SIZE))
    equal = [f"{to_characters(a)} {to_characters(b)}" for a, b in ours.merges] == merges_of(theirs)
    print(f"merges equal: {equal}", flush=True)
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
        "seconds": {name: round(clock, 2) for name, (clock, _) in seconds.items()},
        "processor_seconds": {name: round(processor, 2) for name, (_, processor) in seconds.items()},
        "machine": machine(),
    }
    title = (
        f"{result['characters'] / 1e6:.0f} M characters, {len(counts):,} distinct pre-tokens, {VOCAB_SIZE:,} tokens; "
        f"small: {SMALL_CHARACTERS:,} characters, {SMALL_VOCAB_SIZE} tokens; merges equal: {equal}"
    )
    rows = [(name, f"{clock:.2f}", f"{processor:.2f}") for name, (clock, processor) in seconds.items()]
    show(title, ["seconds", "of processors"], rows)
    save(out, result)


def train_hugging_face(texts: Sequence[str], vocab_size: int):
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = byte_level
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=byte_level.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def processor_seconds() -> float:
    """Of this process and of those that it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def merges_of(tokenizer: Any) -> list[str]:
    """The merges of a tokenizer of Hugging Face's library, each as "a b"."""
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]
