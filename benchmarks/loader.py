"""Tokens a second that the loader delivers from warm shards, on one core, beside the usual ways to build one.

    ours                 TokenBatches.batch: a batch is gathered at once
    ours, ahead          the same through grain's reading ahead, as a training run takes it
    ours, four bytes     from shards of uint32, as a vocabulary over 65,536 has them; the others read uint16
    ahead, four bytes    both
    grain, naive         grain.MapDataset over single windows, then .batch()
    torch, naive         torch.utils.data.DataLoader over single windows, no worker processes

All read the same windows in the same order, into int32, and must give equal hashes for equal batches. They take
turns, in one process bound to one core; medians over the turns are shown. The memory of a process that has read one
epoch is measured for both widths: what it holds itself, and the pages of shards that it has mapped, which the system
takes back when it needs them.

    python benchmarks/loader.py --out benchmarks/results/loader.json
"""

import bisect
import hashlib
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from measuring import save
from rich.console import Console
from rich.table import Table

from train.data.integrity import open_data
from train.data.loader import TokenBatches, ahead
from train.data.order import permute
from train.data.shards import FORMATS, TokenDtype, write_header

VOCABULARY = 50257


@dataclass(frozen=True)
class Options:
    shards: int = 4
    """Training shards to read from."""

    shard_tokens: int = 25_000_000
    """Tokens in each shard."""

    context_length: int = 1024
    """Tokens in a sequence."""

    batch: int = 512
    """Sequences in a batch."""

    turns: int = 5
    """How often each loader is timed."""

    seconds: float = 1.0
    """Length of one turn, in seconds."""

    out: Path | None = None
    """JSON file for the results."""


def main(options: Options) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as name:
        batches, wide = (make_batches(Path(name) / dtype, options, dtype) for dtype in FORMATS)
        loaders: dict[str, Callable[[], Iterator[np.ndarray]]] = {
            "ours": lambda: map(batches.batch, range(10**9)),
            "ours, ahead": lambda: ahead(batches.batch, 0),
            "ours, four bytes": lambda: map(wide.batch, range(10**9)),
            "ahead, four bytes": lambda: ahead(wide.batch, 0),
            "grain, naive": lambda: grain_naive(batches),
            "torch, naive": lambda: torch_naive(batches),
        }
        hashes = {label: hash_of_first(loader()) for label, loader in loaders.items()}
        assert len(set(hashes.values())) == 1, f"the loaders disagree: {hashes}"
        rates: dict[str, list[float]] = {label: [] for label in loaders}
        for _ in range(options.turns):
            for label, loader in loaders.items():
                rates[label].append(rate(loader(), options.seconds))
        memory = {dtype: memory_of_an_epoch(Path(name) / dtype, options) for dtype in FORMATS}
    result = {
        "context_length": options.context_length,
        "batch": options.batch,
        "shards": options.shards,
        "tokens_per_second": {label: statistics.median(values) for label, values in rates.items()},
        "turns": rates,
        "megabytes": memory,
        "sha256_of_first_batches": hashes["ours"],
        "machine": f"{platform.machine()}, one of {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    show(result)
    save(options.out, result)


def make_batches(folder: Path, options: Options, dtype: TokenDtype) -> TokenBatches:
    """Random shards, all of them in the page cache since they have just been written and hashed."""
    generator = np.random.default_rng(0)
    folder.mkdir()
    for i in range(options.shards):
        ids = generator.integers(0, VOCABULARY, options.shard_tokens, dtype=np.uint16)
        with (folder / f"train_{i:06}.bin").open("wb") as file:
            write_header(file, options.shard_tokens, dtype)
            file.write(ids.astype(dtype).tobytes())
    return TokenBatches(open_data(folder), "train", options.context_length, options.batch, seed=0)


def memory_of_an_epoch(folder: Path, options: Options) -> dict[str, float]:
    """MB that a new process needs more after an epoch than before it opened the shards, by kind."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_read_an_epoch, (folder, options))


def _read_an_epoch(folder: Path, options: Options) -> dict[str, float]:
    before = _resident()
    batches = TokenBatches(open_data(folder), "train", options.context_length, options.batch, seed=0)
    for step in range(batches.batches_per_epoch):
        batches.batch(step)
    on_disk = sum(path.stat().st_size for path in folder.glob("*.bin")) / 1e6
    return {"on disk": on_disk} | {kind: size - before[kind] for kind, size in _resident().items()}


def _resident() -> dict[str, float]:
    """MB of this process in memory: what it has allocated, and pages of files."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    kinds = {"allocated": "RssAnon", "pages of shards": "RssFile"}
    return {kind: int(lines[name].split()[0]) * 1024 / 1e6 for kind, name in kinds.items()}


class Windows:
    """The same sequences one at a time, as a dataset class usually offers them; the first epoch's order is a table."""

    def __init__(self, batches: TokenBatches):
        self._order = permute(np.arange(batches.windows), batches.windows, seed=0, epoch=0)
        self._ends, self._windows = batches._ends.tolist(), batches._windows

    def __len__(self) -> int:
        return 10**9

    def __getitem__(self, index: int) -> np.ndarray:
        window = int(self._order[index % len(self._order)])
        shard = bisect.bisect_right(self._ends, window)
        return self._windows[shard][window - self._ends[shard]].astype(np.int32)


def grain_naive(batches: TokenBatches) -> Iterator[np.ndarray]:
    import grain

    dataset = grain.MapDataset.source(Windows(batches)).batch(batches.global_batch)
    return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)))


def torch_naive(batches: TokenBatches) -> Iterator[np.ndarray]:
    from torch.utils.data import DataLoader

    loader = DataLoader(Windows(batches), batch_size=batches.global_batch, sampler=range(10**9))  # type: ignore[arg-type]
    return (batch.numpy() for batch in loader)


def hash_of_first(loader: Iterator[np.ndarray]) -> str:
    first = [np.asarray(next(loader), np.int32) for _ in range(3)]
    return hashlib.sha256(np.stack(first).tobytes()).hexdigest()


def rate(loader: Iterator[np.ndarray], seconds: float) -> float:
    """Tokens a second (inputs; the last token of a window is the next one's first)."""
    next(loader)
    tokens, begun = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begun) < seconds:
        batch = next(loader)
        tokens += batch.shape[0] * (batch.shape[1] - 1)
    return tokens / elapsed


def show(result: dict) -> None:
    title = f"context {result['context_length']}, batch {result['batch']}, {result['shards']} shards, one core"
    table = Table("", title=title, title_justify="left")
    for column in ("million tokens/s", "times naive grain"):
        table.add_column(column, justify="right")
    for label, value in result["tokens_per_second"].items():
        table.add_row(label, f"{value / 1e6:.1f}", f"{value / result['tokens_per_second']['grain, naive']:.1f}")
    console = Console()
    console.print(table)
    for dtype, sizes in result["megabytes"].items():
        console.print(f"{dtype}: " + ", ".join(f"{kind} {size:.1f} MB" for kind, size in sizes.items()))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
