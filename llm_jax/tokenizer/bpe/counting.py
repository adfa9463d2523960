"""Counting pre-tokens: in this process, or in several."""

import multiprocessing
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

from llm_jax.command_line import children, interrupts
from llm_jax.tokenizer.bpe.patterns import GPT2_PATTERN, splitter
from llm_jax.tokenizer.protocol import check_text, check_texts
from llm_jax.tokenizer.special import ordinary_parts

BATCH = 1 << 22  # characters handed to a process at once


def count_pre_tokens(
    texts: Iterable[str], pattern: str = GPT2_PATTERN, special_tokens: Collection[str] = (), processes: int = 1
) -> Counter[str]:
    """How often each distinct pre-token occurs between `special_tokens`.

    Counters add, so several `processes` may count parts of the texts. They import the program's main module, as
    processes of Python's multiprocessing do.
    """
    check_texts(texts)
    if processes <= 1:
        return _count(texts, pattern, special_tokens)
    context = multiprocessing.get_context("spawn")  # a forked child of a process with JAX's threads may hang
    counts: Counter[str] = Counter()
    with interrupts.held(), children.quiet_tracker():
        pool = ProcessPoolExecutor(processes, context)
    try:
        running: set[Future[Counter[str]]] = set()
        for batch in _batches(texts):
            with interrupts.held():  # starts a process, too
                running.add(pool.submit(_count, batch, pattern, special_tokens))
            while len(running) > 2 * processes:
                running = _gather(running, counts)
        while running:
            running = _gather(running, counts)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return counts


def _count(texts: Iterable[str], pattern: str, special_tokens: Collection[str]) -> Counter[str]:
    split = splitter(pattern)
    counts: Counter[str] = Counter()
    for text in texts:
        check_text(text)
        for part in ordinary_parts(text, special_tokens):
            counts.update(split(part))
    return counts


def _gather(running: set[Future[Counter[str]]], counts: Counter[str]) -> set[Future[Counter[str]]]:
    """Adds the counts that are done; returns those that are not."""
    done, running = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
    interrupts.check()
    for future in done:
        counts.update(future.result())
    return running


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
