"""A job array of a thousand tasks that tokenize one corpus, with everything that goes wrong on a cluster.

Every task is a process that does what `train prepare --task I --tasks N` does. Two run at a time. Some are killed at
any instant, some are started twice at once, and some are stopped in the middle (a straggler on a bad node) and go on
when all others have ended and the shards are written. Then the array is submitted again, which does what is missing,
and the shards must be those that one process makes.

    python benchmarks/many_tasks.py --out benchmarks/results/many_tasks.json
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the library need not be installed

import tyro
from measuring import save, show

from train.prepare.config import PrepareConfig
from train.prepare.preparation import prepare, prepare_share

WORDS = ("the", "a", "old", "new", "red", "small", "house", "river", "road", "night", "day", "king", "sea", "stone")


@dataclass(frozen=True)
class Options:
    tasks: int = 1000
    """Tasks of the array."""
    documents: int = 4000
    """Documents of the corpus, of some 600 bytes; one unit of work holds two."""
    killed: float = 0.1
    """Share of the tasks that are killed at some instant."""
    doubled: float = 0.05
    """Share that are started twice at the same time."""
    stopped: float = 0.02
    """Share that stop in the middle and go on at the end."""
    at_once: int = 2
    """Processes that run at a time."""
    seed: int = 0
    """Of the corpus and of what goes wrong."""
    out: Path | None = None
    """Result as JSON."""


@dataclass
class Array:
    """The tasks of one submission: those that run, and what became of the others."""

    settings: PrepareConfig
    seconds: list[float] = field(default_factory=list)
    killed: int = 0
    failed: int = 0
    doubled: int = 0
    stragglers: list[int] = field(default_factory=list)
    running: dict[int, float] = field(default_factory=dict)

    def start(self, task: int) -> int:
        process = forked(lambda: prepare_share(dataclasses.replace(self.settings, task=task)))
        self.running[process] = time.perf_counter()
        return process

    def wait_for_one(self) -> None:
        process, status = os.wait()
        if process in self.running:
            self.seconds.append(time.perf_counter() - self.running.pop(process))
        self.killed += os.WIFSIGNALED(status)
        self.failed += os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0


def forked(work: Callable[[], object]) -> int:
    """The number of a process that does this work; as quick as no new interpreter could be."""
    if process := os.fork():
        return process
    status = 1
    try:
        with open(os.devnull, "w") as null, contextlib.redirect_stderr(null):
            work()
        status = 0
    finally:
        os._exit(status)


def submit(array: Array, options: Options, trouble: random.Random | None) -> None:
    """All tasks, `at_once` at a time. Without `trouble` nothing goes wrong."""
    waiting = deque(range(options.tasks))
    while waiting or array.running:
        while waiting and len(array.running) < options.at_once:
            task = waiting.popleft()
            process, drawn = array.start(task), trouble.random() if trouble else 1.0
            usual = sum(array.seconds[-20:]) / len(array.seconds[-20:]) if array.seconds else 0.5
            if drawn < options.killed:
                time.sleep(trouble.uniform(0, usual) if trouble else 0)
                os.kill(process, signal.SIGKILL)
            elif drawn < options.killed + options.doubled:
                array.start(task)
                array.doubled += 1
            elif drawn < options.killed + options.doubled + options.stopped:
                time.sleep(trouble.uniform(0, usual) if trouble else 0)
                os.kill(process, signal.SIGSTOP)
                array.stragglers.append(process)
                del array.running[process]
        if array.running:
            array.wait_for_one()


def corpus(path: Path, n_documents: int, draw: random.Random) -> None:
    with path.open("w") as file:
        for _ in range(n_documents):
            file.write(json.dumps({"text": " ".join(draw.choices(WORDS, k=draw.randint(20, 240)))}) + "\n")


def hashes(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted((*folder.glob("*.bin"), folder / "manifest.json")):
        yield path.name, hashlib.sha256(path.read_bytes()).hexdigest()


def measure(options: Options, folder: Path) -> dict[str, float]:
    draw = random.Random(options.seed)
    corpus(folder / "corpus.jsonl", options.documents, draw)

    def settings(out: str) -> PrepareConfig:
        return PrepareConfig(
            source=(str(folder / "corpus.jsonl"),),
            out=folder / out,
            tokenizer="train:300",
            shard_tokens=100_000,
            processes=1,
            unit_megabytes=0.0012,
            tasks=options.tasks,
        )

    started = time.perf_counter()
    prepare(dataclasses.replace(settings("alone"), tasks=1))
    alone = time.perf_counter() - started
    first, second = Array(settings("array")), Array(settings("array"))
    started = time.perf_counter()
    submit(first, options, draw)
    once = time.perf_counter() - started
    submit(second, options, None)
    again = time.perf_counter() - started - once
    parts = len(list((folder / "array/.prepare/parts").glob("*.npz")))
    prepare(dataclasses.replace(settings("array"), assemble=True))
    assembled = time.perf_counter() - started - once - again
    before = dict(hashes(folder / "array"))
    for process in first.stragglers:
        with contextlib.suppress(ProcessLookupError):  # one that was nearly done has ended before it was stopped
            os.kill(process, signal.SIGCONT)
            first.wait_for_one()
    after, expected = dict(hashes(folder / "array")), dict(hashes(folder / "alone"))
    return {
        "tasks": options.tasks,
        "killed": first.killed,
        "started_twice": first.doubled,
        "stragglers": len(first.stragglers),
        "failed_in_the_second_array": second.failed,
        "parts": parts,
        "seconds_alone": alone,
        "seconds_first_array": once,
        "seconds_second_array": again,
        "seconds_assemble": assembled,
        "milliseconds_a_task": 1e3 * sum(first.seconds) / len(first.seconds),
        "shards": len(expected) - 1,
        "same_bytes": before == expected,
        "same_bytes_after_the_stragglers": after == expected,
    }


def main(options: Options) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, Path(folder))
    rows = [
        (name.replace("_", " "), f"{value:,.2f}" if isinstance(value, float) else f"{value}")
        for name, value in found.items()
    ]
    show("a job array in trouble", ("",), rows)
    save(options.out, {"figures": found, "options": dataclasses.asdict(options) | {"out": None}})


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
