"""Units of text → parts: files of token ids, one per unit, by one process per core.

A part is an `.npz` with the arrays `tokens` (of the shards' type), `lengths` (uint32: tokens of each document) and
`findings` (JSON, see `findings.py`). It is written whole or not at all, so the parts that exist are exactly the work
that is done, and a run after a kill repeats only the units that were unfinished. A part depends on its unit alone, so
units may be divided among processes, or tasks of a job array, in any way.
"""

import multiprocessing
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.connection import wait as wait_for
from typing import Any, ClassVar

import numpy as np

from llm_jax.command_line import children, interrupts
from llm_jax.files import replacing
from llm_jax.tokenizer.protocol import Tokenizer
from train.data.shards import fitted
from train.prepare.findings import Findings, special_names
from train.prepare.plan import UnitPlan
from train.prepare.progress import Progress
from train.prepare.slices import BadRow, Source, Unit, rows_of, text_to_keep

COUNT_BYTES = 1 << 19  # of text between two updates of the progress line


@dataclass
class Work:
    """All that a process needs to make any part. It is sent to each process once."""

    plan: UnitPlan
    source: Source
    tokenizer: Tokenizer
    skip_bad_rows: int = 0
    counted: Any = field(default_factory=lambda: [0, 0, 0])  # documents, bytes, tokens; shared between processes

    def make_part(self, number: int) -> int:
        """Tokenizes unit `number`, writes its part and returns the number."""
        before = np.array(self.tokenizer.borders.between if self.source.separated else (), np.uint32)
        pieces: list[np.ndarray] = [np.empty(0, np.uint32)]
        lengths: list[int] = []
        documents = n_bytes = n_tokens = 0
        findings = Findings()
        for text, ids in self._documents(self.plan.units[number], findings):
            pieces += before, ids
            lengths.append(len(before) + len(ids))
            documents, n_bytes, n_tokens = documents + 1, n_bytes + _size(text), n_tokens + lengths[-1]
            if n_bytes >= COUNT_BYTES:
                self._count(documents, n_bytes, n_tokens)
                documents = n_bytes = n_tokens = 0
        self._count(documents, n_bytes, n_tokens)
        tokens = fitted(np.concatenate(pieces), self.tokenizer.vocab_size)
        with replacing(self.plan.part(number)) as file:
            lengths_array, findings_array = np.array(lengths, np.uint32), np.array(findings.to_json())
            np.savez(file, tokens=tokens, lengths=lengths_array, findings=findings_array)
        return number

    def _documents(self, unit: Unit, findings: Findings) -> Iterator[tuple[str, np.ndarray]]:
        """Each document that holds text, and its ids. Raises ValueError for more than `skip_bad_rows` bad rows."""
        specials = special_names(self.tokenizer)
        for piece in unit:
            for index, read in enumerate(rows_of(self.source, piece)):
                text = read if isinstance(read, BadRow) else text_to_keep(read, self.source.separated)
                if text is None:
                    findings.blank += 1
                    continue
                try:
                    if isinstance(text, BadRow):
                        raise ValueError(text.reason)
                    try:
                        ids = self.tokenizer.encode_array(text)
                    except ValueError as error:
                        raise ValueError(f"{self.source.place(piece, index)}: {error}") from error
                except ValueError as error:
                    findings.bad.append(str(error))
                    if len(findings.bad) > self.skip_bad_rows:
                        raise
                    continue
                findings.note_specials(text, specials, piece.path)
                yield text, ids

    def _count(self, *amounts: int) -> None:
        lock = getattr(self.counted, "get_lock", threading.Lock)()
        with lock:
            for i, amount in enumerate(amounts):
                self.counted[i] += amount


def available_cores() -> int:
    """The cores that this process may use, which on a cluster are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _size(text: str) -> int:
    """Bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def make_parts(work: Work, numbers: Sequence[int], processes: int, progress: Progress) -> None:
    """Makes the parts `numbers` that do not exist yet, in several processes.

    Raises:
        RuntimeError: a process was killed.
        Exception: what the first failing unit raised.
    """
    missing = [number for number in numbers if not work.plan.part(number).exists()]
    processes = min(processes, len(missing))
    context = multiprocessing.get_context("spawn")  # a forked child of a process with JAX's threads may hang
    if processes > 1:
        with interrupts.held(), children.quiet_tracker():  # shared memory starts a process too: the resource tracker
            work.counted = context.Array("q", list(work.counted))
    progress.start(work.plan.units, [number for number in numbers if number not in set(missing)], work.counted)
    if processes <= 1:  # in this process, because starting another one takes a second
        for number in missing:
            progress.advance(work.make_part(number))
            interrupts.check()
        return
    pool = ProcessPoolExecutor(processes, context, _Worker.begin, (work,))
    try:
        _distribute(pool, iter(missing), 2 * processes, progress)
    except BrokenProcessPool as error:
        raise RuntimeError(
            "a tokenizing process was killed, perhaps because the memory was full; finished parts are kept. Run the "
            "same command again, with fewer --processes if it happens again"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _distribute(pool: ProcessPoolExecutor, missing: Iterator[int], at_once: int, progress: Progress) -> None:
    running = _submit(pool, islice(missing, at_once))
    while running:
        done, running = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
        interrupts.check()
        for future in done:
            progress.advance(future.result())
        running |= _submit(pool, islice(missing, len(done)))
        progress.refresh()


def _submit(pool: ProcessPoolExecutor, numbers: Iterable[int]) -> set[Future[int]]:
    """Submits units to the pool, which starts a process if fewer than its maximum are running."""
    with interrupts.held():
        return {pool.submit(_Worker.make_part, number) for number in numbers}


class _Worker:
    """State of a worker process. It gets the work once, when it starts, and then only numbers of units."""

    work: ClassVar[Work]

    @classmethod
    def begin(cls, work: Work) -> None:
        cls.work = work
        threading.Thread(target=_exit_with_parent, daemon=True).start()

    @classmethod
    def make_part(cls, number: int) -> int:
        return cls.work.make_part(number)


def _exit_with_parent() -> None:
    """Ends this process when its parent ends. Otherwise it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for([parent.sentinel])
    os._exit(1)
