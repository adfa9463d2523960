"""Text → vectors, with a line of progress."""

import time
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from llm_jax.command_line import interrupts
from llm_jax.models.embeddings import counting, training, vocabulary
from llm_jax.models.embeddings.vectors import Vectors
from train.embeddings import inputs
from train.embeddings.config import EmbeddingsConfig


def make(options: EmbeddingsConfig, console: Console) -> tuple[Vectors, dict[str, Any]]:
    """The vectors of a text, and how they were made, for the report.

    Raises:
        OSError, ValueError: with a message for the user.
    """
    import numpy as np

    config = options.skip_gram
    lines = inputs.sentences(options.source, options.lowercase)
    n_words = sum(map(len, lines))
    try:
        words = vocabulary.count(lines, config.min_count)
    except ValueError as error:
        raise ValueError(f"{options.source}: {error}") from None
    text = vocabulary.encode(lines, words)
    if len(text.ids) < 2:
        raise ValueError(
            f"{options.source}: no two words stand beside each other: give more text, or lower --min-count"
        )
    begun = time.perf_counter()
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=16), TextColumn("{task.fields[numbers]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task(options.method, total=1.0, numbers=f"{len(words):,} words")

        def progress(done: float) -> None:
            interrupts.check()
            speed = done * config.epochs * n_words / (time.perf_counter() - begun)
            bar.update(task, completed=done, numbers=f"{len(words):,} words, {speed / 1e3:,.0f} k words/s")

        if options.method == "skip-gram":
            matrix = np.asarray(training.train(text, words, config, progress).neighbour)
        else:
            matrix = counting.vectors(text, words, config.width, config.window)
    seconds = time.perf_counter() - begun
    record = {
        "method": options.method,
        "text": {"words": n_words, "lines": len(lines), "words_in_vocabulary": len(text.ids)},
        "seconds": round(seconds, 2),
        "settings": replace(config).__dict__,
    }
    if options.method == "skip-gram":
        record["words_per_second"] = round(n_words * config.epochs / seconds)
    return Vectors(words.words, matrix), record
