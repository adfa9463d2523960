"""How much of tiktoken's own speed is left when `train prepare` has read, tokenized, written, hashed and checked?

Both take the same documents (WikiText-2 if `LLM_JAX_DATA` has it, else the standard library's sources, repeated), the
same vocabulary, and the same number of processes. GPT-2's vocabulary gives shards of two bytes a token, cl100k_base's
of four. tiktoken's side is the best case: the documents lie in memory, one process per core calls `encode_ordinary` on
its share, and what comes out is dropped. `prepare` is timed from the start of the command to its end, as a user waits
for it. All take turns; medians are shown, and of `prepare` the memory of its largest process and the size of its
shards.

    python benchmarks/prepare.py --out benchmarks/results/prepare.json
"""

import json
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import tyro
from measuring import save
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Options:
    megabytes: int = 100
    """Text to tokenize, in MB of 10^6 bytes."""

    tokenizers: tuple[str, ...] = ("gpt2", "cl100k_base")
    """tiktoken's vocabularies to compare with."""

    processes: int = 0
    """Processes on each side. 0: one for each core."""

    repeats: int = 3
    """How often each side is timed."""

    out: Path | None = None
    """JSON file for the results."""


def main(options: Options) -> None:
    processes = options.processes or len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        corpus = Path(name) / "corpus.jsonl"
        n_bytes = write_corpus(corpus, options.megabytes * 1_000_000)
        runs: dict[str, dict[str, list[Cost]]] = {
            tokenizer: {"tiktoken": [], "prepare": []} for tokenizer in options.tokenizers
        }
        for _ in range(options.repeats):
            for tokenizer, sides in runs.items():
                sides["tiktoken"].append(cost_of_tiktoken(corpus, processes, tokenizer))
                sides["prepare"].append(cost_of_prepare(corpus, Path(name) / "shards", processes, tokenizer))
    result = {
        "megabytes": n_bytes / 1e6,
        "processes": processes,
        "tokenizers": {
            tokenizer: {side: summary(n_bytes, costs) for side, costs in sides.items()}
            for tokenizer, sides in runs.items()
        },
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    show(result)
    save(options.out, result)


class Cost(NamedTuple):
    """Seconds on the clock, and of processor time, all processes together; of `prepare`, what it takes besides."""

    wall: float
    cpu: float
    memory: float = 0.0  # MB, of the largest process
    shards: float = 0.0  # MB


def summary(n_bytes: int, costs: list[Cost]) -> dict:
    return {
        "megabytes_per_second": n_bytes / 1e6 / statistics.median(cost.wall for cost in costs),
        "megabytes_per_cpu_second": n_bytes / 1e6 / statistics.median(cost.cpu for cost in costs),
        "wall_seconds": [cost.wall for cost in costs],
        "cpu_seconds": [cost.cpu for cost in costs],
        "memory_megabytes": max(cost.memory for cost in costs),
        "shards_megabytes": costs[0].shards,
    }


def write_corpus(path: Path, n_bytes: int) -> int:
    """Documents as JSON lines, repeated until there are `n_bytes` of text; returns how many there are."""
    documents, written = base_documents(), 0
    with path.open("w", encoding="utf-8") as file:
        while written < n_bytes:
            for text in documents:
                file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
                written += len(text.encode())
    return written


def base_documents() -> list[str]:
    data = os.environ.get("LLM_JAX_DATA")
    if data:
        text = (Path(data) / "text" / "wikitext-2.test.txt").read_text(encoding="utf-8")
        return [article for article in text.split("\n = ") if article.strip()]
    from train.prepare.sources.text import standard_library

    return [path.read_text(encoding="utf-8") for path in standard_library().paths]


def cost_of_tiktoken(corpus: Path, processes: int, tokenizer: str) -> Cost:
    """Pure encoding, all processes loaded and waiting at the start; the clock stops with the slowest."""
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(processes), context.Queue()
    workers = [
        context.Process(target=encode_share, args=(corpus, tokenizer, i, processes, start, results))
        for i in range(processes)
    ]
    for worker in workers:
        worker.start()
    costs = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    return Cost(max(cost.wall for cost in costs), sum(cost.cpu for cost in costs))


def encode_share(corpus: Path, tokenizer: str, index: int, processes: int, start, results) -> None:
    import tiktoken

    encoding = tiktoken.get_encoding(tokenizer)
    with corpus.open(encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for i, line in enumerate(file) if i % processes == index]
    encoding.encode_ordinary("warm up")
    start.wait()
    wall, cpu = time.perf_counter(), time.process_time()
    for text in texts:
        encoding.encode_ordinary(text)
    results.put(Cost(time.perf_counter() - wall, time.process_time() - cpu))


def cost_of_prepare(corpus: Path, folder: Path, processes: int, tokenizer: str) -> Cost:
    """The whole command, from start to exit."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "train", "prepare", "--source", corpus, "--out", folder]
    command += ["--tokenizer", tokenizer, "--processes", str(processes)]
    wall = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)  # with the processes that it waited for
    wall = time.perf_counter() - wall
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    shards = sum(path.stat().st_size for path in folder.glob("*.bin")) / 1e6
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6, shards)


def show(result: dict) -> None:
    table = Table("", title=f"{result['megabytes']:.0f} MB, {result['processes']} processes", title_justify="left")
    columns = ("MB/s", "of tiktoken", "MB per CPU second", "of tiktoken", "seconds of each run", "memory", "shards")
    for column in columns:
        table.add_column(column, justify="right")
    for tokenizer, sides in result["tokenizers"].items():
        base = sides["tiktoken"]
        for side, row in sides.items():
            cells = []
            for key in ("megabytes_per_second", "megabytes_per_cpu_second"):
                cells += [f"{row[key]:.2f}", f"{row[key] / base[key]:.0%}"]
            cells.append(", ".join(f"{seconds:.1f}" for seconds in row["wall_seconds"]))
            cells += [f"{row[key]:.0f} MB" for key in ("memory_megabytes", "shards_megabytes")]
            table.add_row(f"{side}, {tokenizer}", *cells)
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
