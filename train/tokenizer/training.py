"""The course of a training: text, vocabulary, folder, report."""

import time
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console

from llm_jax.command_line import interrupts
from llm_jax.files import replacing_folder
from llm_jax.files.json_files import write_json
from llm_jax.tokenizer.bpe.patterns import CL100K_PATTERN, GPT2_PATTERN, O200K_PATTERN
from llm_jax.tokenizer.protocol import Tokenizer
from train.prepare.slices import group
from train.prepare.sources.choose import open_source
from train.prepare.tokenise import available_cores
from train.prepare.vocabulary import documents, refuse_too_many, up_to
from train.tokenizer.config import TokenizerConfig
from train.tokenizer.progress import TrainingProgress
from train.tokenizer.report import REPORT, Sample, measure

SLICE_BYTES = 4_000_000
PATTERNS = {"gpt2": GPT2_PATTERN, "cl100k": CL100K_PATTERN, "o200k": O200K_PATTERN}


def train(options: TokenizerConfig, console: Console) -> dict[str, Any]:
    """Trains the tokenizer, writes its folder, whole or not at all, and returns the report.

    Raises ValueError, FileNotFoundError or OSError with a message for the user.
    """
    options.check()
    refuse_too_many(f"--vocab-size {options.vocab_size}", options.vocab_size)
    sample, begun = Sample(), time.perf_counter()
    with TrainingProgress(console, options.kind) as progress:
        tokenizer = learn(options, progress.reading(sample.keep(_texts(options))), progress)
    seconds = time.perf_counter() - begun
    report = measure(options, tokenizer, sample, seconds)
    with replacing_folder(options.folder) as folder:
        tokenizer.save(folder)
        write_json(folder / REPORT, report)
    return report


def learn(options: TokenizerConfig, texts: Iterable[str], progress: TrainingProgress) -> Tokenizer:
    """The tokenizer that `options` ask for, from `texts`."""
    if options.kind == "wordpiece":
        from llm_jax.tokenizer.wordpiece.train import train_wordpiece

        made = train_wordpiece(texts, options.vocab_size, options.lowercase, options.least, progress.merged)
        return made.tokenizer()
    if options.kind == "bpe" and options.form == "bytes":
        from llm_jax.tokenizer.bpe.train import train_bpe

        return train_bpe(
            texts,
            options.vocab_size,
            PATTERNS[options.pattern],
            progress=progress.merged,
            processes=options.processes or available_cores(),
        )
    from llm_jax.tokenizer.sentencepiece.normalization import Normalization

    normalization = Normalization(options.normalization)
    settings = (options.vocab_size, normalization, options.byte_fallback, options.coverage, options.space_runs)
    if options.kind == "bpe":
        from llm_jax.tokenizer.sentencepiece.pair_encoding import train_pair_encoding

        return train_pair_encoding(texts, *settings, progress.merged).tokenizer()
    from llm_jax.tokenizer.unigram.train import train_unigram

    return train_unigram(texts, *settings, progress.pruned).tokenizer()


def _texts(options: TokenizerConfig) -> Iterator[str]:
    source = open_source(
        options.source,
        text_column=options.text_column,
        config=options.config,
        dataset_split=options.dataset_split,
        revision=options.revision,
        val_fraction=0.0,
        slice_bytes=SLICE_BYTES,
        separator=options.document_separator,
    )
    found = False
    for text in up_to(options.limit, documents(source, group(source.slices(), SLICE_BYTES), options.skip_bad_rows)):
        interrupts.check()
        found = found or bool(text)
        yield text
    if not found:
        raise ValueError("the source holds no text to learn from; check --source")
