"""Batches are a pure function of (manifest, seed, global batch, step), whoever asks for which rows."""

import resource
import threading
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import NamedSharding, PartitionSpec

from train.data import loader
from train.data.integrity import open_data
from train.data.loader import TokenBatches, ahead, on_devices, process_rows
from train.data.manifest import Manifest
from train.data.order import permute
from train.data.shards import ShardError

T = 8
LENGTHS = (100, 8, 65, 9, 1)  # tokens of the training shards; two are too short for a window


@pytest.fixture(scope="module")
def data(tmp_path_factory, shard_bytes) -> Manifest:
    """Training shards in which every token is different: token i of the split has id i."""
    folder = tmp_path_factory.mktemp("shards")
    start = 0
    for i, length in enumerate(LENGTHS):
        (folder / f"train_{i + 1:06}.bin").write_bytes(shard_bytes(range(start, start + length)))
        start += length
    (folder / "val_000000.bin").write_bytes(shard_bytes(range(1000, 1050)))
    return open_data(folder)


def expected_windows(lengths=LENGTHS) -> list[list[int]]:
    """By the definition: windows of T + 1 tokens at every T-th token, within a shard."""
    windows, start = [], 0
    for length in lengths:
        windows += [list(range(start + i, start + i + T + 1)) for i in range(0, length - T, T)]
        start += length
    return windows


def test_windows_overlap_by_one_token_and_stay_within_their_shard(data):
    batches = TokenBatches(data, "train", T, 4, seed=None)
    windows = expected_windows()
    assert batches.windows == len(windows) == 12 + 0 + 8 + 1 + 0
    assert batches.batches_per_epoch == 5
    read = np.concatenate([batches.batch(step) for step in range(5)])
    assert read.tolist() == windows[:20]
    assert read.dtype == np.int32


def test_every_token_but_the_first_of_a_shard_is_a_target_once_an_epoch(data):
    batches = TokenBatches(data, "train", T, 21, seed=4)
    targets = batches.batch(0)[:, 1:]
    covered = [token for window in expected_windows() for token in window[1:]]
    assert sorted(targets.ravel().tolist()) == sorted(covered)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**64), global_batch=st.integers(1, 21), step=st.integers(0, 10**9))
def test_a_batch_is_the_formula_of_its_step_and_of_nothing_else(data, seed, global_batch, step):
    windows = expected_windows()
    batch = TokenBatches(data, "train", T, global_batch, seed).batch(step)
    for row, tokens in enumerate(batch):
        epoch, index = divmod(step * global_batch + row, len(windows))
        choice = permute(np.array([index]), len(windows), seed, epoch)[0]
        assert tokens.tolist() == windows[choice]


@pytest.mark.parametrize("processes", [1, 2, 3, 4, 6, 12])
def test_any_number_of_processes_reads_the_same_global_order(data, processes):
    batches = TokenBatches(data, "train", T, 12, seed=1)
    for step in (0, 1, 7):
        parts = [batches.batch(step, process_rows(12, i, processes)) for i in range(processes)]
        assert {len(part) for part in parts} == {12 // processes}
        assert (np.concatenate(parts) == batches.batch(step)).all()


def test_a_process_touches_only_the_windows_of_its_rows(data):
    class Recorder:
        def __init__(self, windows):
            self.windows, self.read = windows, 0

        def __getitem__(self, index):
            self.read += len(index)
            return self.windows[index]

    batches = TokenBatches(data, "train", T, 12, seed=1)
    recorders = batches._windows = [Recorder(windows) for windows in batches._windows]
    batches.batch(3, process_rows(12, 1, 4))
    assert sum(recorder.read for recorder in recorders) == 3


def test_the_order_does_not_depend_on_the_sizes_of_the_shards(data, tmp_path, shard_bytes):
    """Cut where a window ends (and the next begins anew), the same windows come in the same order."""
    whole = TokenBatches(data, "train", T, 4, seed=9)
    for i, window in enumerate(expected_windows()):
        (tmp_path / f"train_{i:06}.bin").write_bytes(shard_bytes(window))
    cut = TokenBatches(open_data(tmp_path), "train", T, 4, seed=9)
    for step in range(20):
        assert (cut.batch(step) == whole.batch(step)).all()


def test_global_batch_times_step_counts_sequences_across_batch_sizes(data):
    one, many = (TokenBatches(data, "train", T, size, seed=2) for size in (3, 12))
    assert (np.concatenate([one.batch(step) for step in range(8, 12)]) == many.batch(2)).all()


def test_epochs_differ_and_each_is_complete(data):
    batches = TokenBatches(data, "train", T, 21, seed=0)
    first, second = batches.batch(0), batches.batch(1)
    assert (first != second).any()
    assert sorted(first[:, 0].tolist()) == sorted(second[:, 0].tolist())


def test_validation_reads_the_text_in_order(data):
    batches = TokenBatches(data, "val", T, 2, seed=None)
    assert batches.batches_per_epoch == 3
    inputs = np.concatenate([batches.batch(step)[:, :-1] for step in range(3)])
    assert inputs.ravel().tolist() == list(range(1000, 1000 + 6 * T))


def test_fewer_tokens_than_one_batch_are_refused(data):
    with pytest.raises(ValueError, match=r"'val' has 50 tokens, 6 windows of 8 \+ 1; expected at least one batch of 7"):
        TokenBatches(data, "val", T, 7, seed=None)
    with pytest.raises(ValueError, match=r"0 windows of 1,000 \+ 1"):
        TokenBatches(data, "train", 1000, 1, seed=0)
    with pytest.raises(ValueError, match="at least 1; got 8 and 0"):
        TokenBatches(data, "train", T, 0, seed=0)
    with pytest.raises(ValueError, match="multiple of the processes; got 12 and 5"):
        process_rows(12, 0, 5)


def test_a_bad_shard_is_refused_when_the_loader_opens(tmp_path, shard_bytes):
    (tmp_path / "train_000001.bin").write_bytes(shard_bytes(range(100)))
    manifest = open_data(tmp_path)
    (tmp_path / "train_000001.bin").write_bytes(shard_bytes(range(100), magic=1))
    with pytest.raises(ShardError, match="magic 1"):
        TokenBatches(manifest, "train", T, 1, seed=0)


def test_reading_ahead_gives_the_same_batches_from_any_step(data):
    batches = TokenBatches(data, "train", T, 4, seed=3)
    for start in (0, 1, 11, 10**12):
        stream = ahead(batches.batch, start, start + 5)
        assert [batch.tolist() for batch in stream] == [batches.batch(start + i).tolist() for i in range(5)]
    endless = ahead(batches.batch, 10**6)
    assert (next(endless) == batches.batch(10**6)).all()
    endless.close()


def test_reading_ahead_stays_within_its_depth_and_ends_its_thread(data):
    loaded = []

    def load(step: int) -> int:
        loaded.append(step)
        return step

    stream = ahead(load, 0, depth=3)
    assert next(stream) == 0
    stream.close()
    assert len(loaded) <= 5
    for thread in threading.enumerate():
        if thread.name.startswith("grain-prefetch"):
            thread.join(5)
            assert not thread.is_alive()


def test_an_error_while_reading_ahead_is_raised_at_its_step():
    def load(step: int) -> int:
        if step == 3:
            raise ShardError("x.bin", "a hole", "no hole", "Copy it again.")
        return step

    stream = ahead(load, 0)
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ShardError, match=r"x\.bin: a hole"):
        next(stream)


@pytest.mark.parametrize("axes", [(8, 1), (2, 4), (1, 8)])
def test_the_batch_on_devices_is_the_batch_on_the_host(data, axes):
    mesh = jax.make_mesh(axes, ("data", "tensor"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    batches = TokenBatches(data, "train", T, 8, seed=6)
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    stream = ahead(on_devices(batches, sharding), 5, 8)
    for step, array in zip(range(5, 8), stream, strict=True):
        assert array.sharding == sharding
        assert np.asarray(array).tolist() == batches.batch(step).tolist()


def test_only_a_few_shards_stay_open_and_every_batch_is_right(tmp_path, shard_bytes, monkeypatch):
    """More shards than a process may have open: 15 trillion tokens are 150,000 shards."""
    monkeypatch.setattr(loader, "MOST_OPEN", 3)
    for i in range(40):
        (tmp_path / f"train_{i:06}.bin").write_bytes(shard_bytes(range(i * T, (i + 1) * T + 1)))
    manifest = open_data(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 64
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(used + 30, soft), hard))
    try:
        batches = TokenBatches(manifest, "train", T, 40, seed=5)
        read = batches.batch(0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert sorted(read.tolist()) == [list(range(i * T, (i + 1) * T + 1)) for i in range(40)]


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux says how a mapping is read")
def test_the_kernel_is_told_that_windows_are_read_at_random(tmp_path, shard_bytes):
    """It would read ahead, up to 8 MB for a window of 2 kB."""
    (tmp_path / "train_of_this_test.bin").write_bytes(shard_bytes(range(100)))
    manifest = open_data(tmp_path)

    def is_random(seed: int | None) -> list[bool]:
        batches, is_ours, found = TokenBatches(manifest, "train", T, 4, seed), False, []
        for line in Path("/proc/self/smaps").read_text().splitlines():
            if not line.split()[0].endswith(":"):  # the first line of a mapping
                is_ours = line.endswith("train_of_this_test.bin")
            elif is_ours and line.startswith("VmFlags"):
                found.append("rr" in line.split())
        assert batches.batch(0).shape == (4, T + 1)
        return found

    assert is_random(seed=1) == [True]
    assert is_random(seed=None) == [False]  # validation reads in order
