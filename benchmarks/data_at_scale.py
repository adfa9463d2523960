"""A manifest of 150,000 shards: 15 trillion tokens at 100 million each, as sparse files.

Shards have a real header and a hole for their tokens, so they take no disk and all have one hash. Each row below runs
in a process of its own, with its seconds and the most memory it had:

    read      manifest.json
    open      as `train pretrain` does when it starts: manifest, notes of earlier checks, header and size of each shard
    loader    the batches of all training shards, at 1,024 tokens a window
    seek      a batch of 512 sequences at a step that was not read before; 512 shards, on average
    sample    `train verify --sample 20`: headers of all, every byte of twenty

    python benchmarks/data_at_scale.py --out benchmarks/results/data_at_scale.json
"""

import hashlib
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the library need not be installed

import tyro
from measuring import machine, save, show

from train.data import integrity
from train.data.integrity import NOTES, Facts
from train.data.loader import TokenBatches
from train.data.manifest import Manifest, Shard, Split, Tokenizer, read
from train.data.shards import HEADER_BYTES, write_header
from train.data.sizes import stamp_of

STEPS = 20


@dataclass(frozen=True)
class Options:
    shards: int = 150_000
    """Number of shards; the first is validation."""
    shard_tokens: int = 100_000_000
    """Tokens of each; they take no disk."""
    folder: Path | None = None
    """Where the files are made, and removed. Default: a temporary folder. One inode for each is needed."""
    out: Path | None = None
    """Result as JSON."""


def make(folder: Path, n_shards: int, tokens: int) -> float:
    """Writes shards, manifest and the notes that an earlier start would have left. Returns seconds."""
    started = time.perf_counter()
    digest, block = hashlib.sha256(), bytes(1 << 20)
    names = ["val_000000.bin", *(f"train_{number:06}.bin" for number in range(1, n_shards))]
    for name in names:
        with (folder / name).open("wb") as file:
            write_header(file, tokens)
            file.truncate(HEADER_BYTES + 2 * tokens)
    with (folder / names[0]).open("rb") as file:
        digest.update(file.read(HEADER_BYTES))
    for start in range(0, 2 * tokens, len(block)):
        digest.update(block[: 2 * tokens - start])
    sha256 = digest.hexdigest()
    shards = tuple(Shard(name, "val" if name.startswith("val") else "train", tokens, sha256) for name in names)
    splits = {"val": Split(tokens, None, None), "train": Split((n_shards - 1) * tokens, None, None)}
    Manifest(folder, Tokenizer("gpt2", None, 50257), {"kind": "sparse"}, splits, shards).save()
    facts = asdict(Facts(tokens, sha256, 0))
    notes = {name: {"stamp": stamp_of((folder / name).stat()), "facts": facts} for name in names}
    (folder / NOTES).write_text(json.dumps(notes))
    return time.perf_counter() - started


def read_manifest(folder: Path) -> dict[str, Any]:
    return {"shards": len(read(folder).shards), "megabytes": round((folder / "manifest.json").stat().st_size / 1e6, 1)}


def open_all(folder: Path) -> dict[str, Any]:
    return {"shards": len(integrity.open_data(folder).shards)}


def open_loader(folder: Path) -> dict[str, Any]:
    manifest = read(folder)
    started = time.perf_counter()
    batches = TokenBatches(manifest, "train", 1024, 512, seed=1)
    opening = time.perf_counter() - started
    started = time.perf_counter()
    for step in range(STEPS):
        batches.batch(1_000_000 * step + 7)
    return {"loader_seconds": opening, "milliseconds_a_batch": 1e3 * (time.perf_counter() - started) / STEPS}


def sample(folder: Path) -> dict[str, Any]:
    verdicts = integrity.verify(folder, sample=20)
    read_through = [one for one in verdicts if one.facts]
    return {"read_through": len(read_through), "faults": sum(bool(one.fault) for one in verdicts)}


def alone(work: Callable[[Path], dict[str, Any]], folder: Path) -> dict[str, Any]:
    """Runs it in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (work, folder))


def _measured(work: Callable[[Path], dict[str, Any]], folder: Path) -> dict[str, Any]:
    started = time.perf_counter()
    found = work(folder)
    return {"seconds": time.perf_counter() - started, "MB": _most_memory(), **found}


def _most_memory() -> float:
    """Of this process alone: `ru_maxrss` would begin with that of its parent."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main(options: Options) -> None:
    folder = Path(tempfile.mkdtemp(prefix="shards", dir=options.folder))
    try:
        made = make(folder, options.shards, options.shard_tokens)
        print(f"{options.shards:,} sparse files in {made:.0f} s: {folder}", flush=True)
        figures = {}
        for name, work in (("read", read_manifest), ("open", open_all), ("loader", open_loader), ("sample", sample)):
            try:
                figures[name] = alone(work, folder)
            except (OSError, ValueError, MemoryError) as error:
                figures[name] = {"error": str(error)}
            print(name, figures[name], flush=True)
    finally:
        shutil.rmtree(folder)
    rows = [(name, f"{one.get('seconds', 0):.2f}", f"{one.get('MB', 0):.0f}") for name, one in figures.items()]
    show(f"{options.shards:,} shards", ("seconds", "MB"), rows)
    save(
        options.out,
        {"machine": machine(), "options": {**asdict(options), "out": None, "folder": None}, "figures": figures},
    )


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
