"""Batches of tokens: a pure function of (manifest, seed, global batch, step).

A split is cut into windows of T + 1 tokens, each beginning with the last token of the one before, so that every token
but the first of a shard is predicted once an epoch (inputs are `window[:-1]`, targets `window[1:]`, as in llm.c).
Sequence i of the run, counted over all steps, is window `permute(i mod windows, epoch)` of epoch `i // windows`; step
s of a global batch B takes sequences s·B … s·B + B − 1. The loader keeps no state: a stopped run resumes from its step
number alone, on any number of devices or hosts. Each host reads only its own rows of the batch.

grain reads ahead on a thread. Its element is a whole batch, not a window: the usual `source.shuffle().batch()` costs
some 20 µs of Python for each window (`benchmarks/loader.py`). NumPy gathers the windows from the memory-mapped shards,
with one fancy index for each shard that a batch touches.
"""

import sys
from collections.abc import Callable, Generator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from train.data.manifest import Manifest, Shard
from train.data.order import permute
from train.data.shards import ShardError, open_tokens, read_at_random

if TYPE_CHECKING:
    import jax

MOST_OPEN = 512  # shards: many systems allow a process 1,024 files

Batch = TypeVar("Batch")


class TokenBatches:
    """The batches of one split. `seed=None` reads the windows in the order of the text, as validation does.

    Raises ValueError if the split has fewer windows than one batch, FileNotFoundError or ShardError if a shard cannot
    be opened (of more than `MOST_OPEN` shards: when it is read first). Use a manifest from `integrity.open_data`, which
    has checked the contents.
    """

    def __init__(self, manifest: Manifest, split: str, context_length: int, global_batch: int, seed: int | None):
        if context_length < 1 or global_batch < 1:
            raise ValueError(
                "context_length (tokens) and global_batch (sequences) must be at least 1; "
                f"got {context_length} and {global_batch}"
            )
        self.context_length, self.global_batch, self.seed = context_length, global_batch, seed
        self._windows = _Windows(manifest, split, context_length, in_order=seed is None)
        tokens = np.array([shard.tokens for shard in self._windows.shards])
        self._ends = np.cumsum((tokens - 1) // context_length)
        self.windows = int(self._ends[-1])
        if self.windows < global_batch:
            tokens = manifest.splits[split].tokens
            raise ValueError(
                f"{manifest.folder}: split {split!r} has {tokens:,} tokens, {self.windows:,} windows of "
                f"{context_length:,} + 1; expected at least one batch of {global_batch:,}. "
                "Use a smaller batch or context length, or more text."
            )

    @property
    def batches_per_epoch(self) -> int:
        """Whole batches in one pass over the split."""
        return self.windows // self.global_batch

    def batch(self, step: int, rows: slice = slice(None)) -> np.ndarray:
        """Tokens of step `step`, int32 [rows, T + 1]: inputs `[:, :-1]`, targets `[:, 1:]`.

        `rows` selects rows of the global batch, by default all; no others are read.
        """
        index = self.windows_of(step, rows)
        shard = np.searchsorted(self._ends, index, side="right")
        tokens = np.empty((len(index), self.context_length + 1), np.int32)
        for i in np.flatnonzero(np.bincount(shard)):
            here = shard == i
            tokens[here] = self._windows[i][index[here] - self._ends[i]]  # negative: counted from the shard's end
        return tokens

    def windows_of(self, step: int, rows: slice = slice(None)) -> np.ndarray:
        """Which window of the split, in the order of the text, each of these rows of step `step` is."""
        sequence = step * self.global_batch + np.arange(self.global_batch)[rows]
        epoch, index = np.divmod(sequence, self.windows)
        if self.seed is None or not len(index):
            return index
        epochs = range(int(epoch[0]), int(epoch[-1]) + 1)  # two where one ends within the batch
        return np.concatenate([permute(index[epoch == one], self.windows, self.seed, one) for one in epochs])


class _Windows(Sequence[np.ndarray]):
    """The windows of each shard. Only the shards read last stay open: each takes a file descriptor and a mapping.

    So few shards that all can stay open are opened at once. Of more, each is opened, and checked, when it is read:
    every process of a large job would otherwise look at every file.
    """

    def __init__(self, manifest: Manifest, split: str, context_length: int, in_order: bool):
        self.shards = shards = manifest.of_split(split)
        # A closure without `self`: a shard is closed as soon as nobody needs it, not at the next garbage collection.
        self._opened = lru_cache(MOST_OPEN)(lambda i: _open(manifest, shards[i], context_length, in_order))
        if len(shards) <= MOST_OPEN:
            for i in range(len(shards)):
                self._opened(i)

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, index: Any) -> Any:
        if index >= len(self.shards):
            raise IndexError(index)
        return self._opened(int(index))


def _open(manifest: Manifest, shard: Shard, context_length: int, in_order: bool) -> np.ndarray:
    path = manifest.path(shard)
    tokens = open_tokens(path, manifest.bare)
    if len(tokens) != shard.tokens:
        cure = "It was changed while it was used: copy it back, or prepare the text again."
        raise ShardError(path, f"{len(tokens):,} tokens", f"{shard.tokens:,}, as in the manifest", cure)
    return _windows(tokens if in_order else read_at_random(tokens), context_length)


def _windows(tokens: np.ndarray, context_length: int) -> np.ndarray:
    """A view [windows, T + 1] of a shard, without copying; window i begins at token i·T."""
    if len(tokens) <= context_length:
        return np.empty((0, context_length + 1), tokens.dtype)
    return np.lib.stride_tricks.sliding_window_view(tokens, context_length + 1)[::context_length]


def process_rows(global_batch: int, process_index: int, process_count: int) -> slice:
    """The rows of process `process_index` of `process_count`. Raises ValueError if they do not divide the batch."""
    if global_batch % process_count:
        raise ValueError(f"global_batch must be a multiple of the processes; got {global_batch} and {process_count}")
    share = global_batch // process_count
    return slice(process_index * share, (process_index + 1) * share)


def ahead(
    load: Callable[[int], Batch], start: int, stop: int | None = None, depth: int = 2
) -> Generator[Batch, None, None]:
    """Yields load(start), load(start + 1), … while a thread prepares up to `depth` further ones; endless without
    `stop`.

    The thread ends when the iterator is closed or exhausted. What `load` raises is raised here, at its step.
    """
    import grain

    steps = _Steps(load, sys.maxsize if stop is None else stop)
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=depth)
    iterator = iter(grain.MapDataset.source(steps).to_iter_dataset(options))
    iterator.set_state({"next_index": start})  # grain seeks in O(1), for its source is random-access
    try:
        yield from iterator
    finally:
        iterator.close()


class _Steps(Generic[Batch]):
    """A function of the step as grain's random-access source."""

    def __init__(self, load: Callable[[int], Batch], stop: int):
        self._load, self._stop = load, stop

    def __len__(self) -> int:
        return self._stop

    def __getitem__(self, index: int) -> Batch:
        return self._load(index)


def on_devices(batches: TokenBatches, sharding: "jax.sharding.Sharding") -> Callable[[int], "jax.Array"]:
    """A `load` for `ahead`: step → global array int32 [B, T + 1], spread over the devices (and hosts) of `sharding`.

    JAX asks for the rows of each device of this process and for no others.
    """
    import jax

    shape = (batches.global_batch, batches.context_length + 1)

    def load(step: int) -> "jax.Array":
        def rows(index) -> np.ndarray:
            return batches.batch(step, index[0])

        return jax.make_array_from_callback(shape, sharding, rows)

    return load
