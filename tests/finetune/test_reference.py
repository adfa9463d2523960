"""Passes over all examples: in micro-batches, and DPO's reference, which a request to stop divides in two."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from finetuning import SHORT, call
from slurm_cluster import free_ports
from small_models import bytes_tokenizer

from llm_jax import sharding
from train.cluster.signals import StopRequest
from train.finetune.data.batches import FinetuneBatches
from train.finetune.data.config import DataConfig
from train.finetune.data.prepare import prepare
from train.finetune.inputs import Batches
from train.finetune.lengths import OfEveryLength

PAIRS = ("--lora.rank", "2", "--micro-batch", "1", "--batch-size", "16", "--steps", "4")


@pytest.fixture(scope="module")
def begin(base, files):
    def begin(task, runs, *flags):
        return call(base, "--data", files[task], "--runs", runs, "--run", task, *SHORT, *flags)

    return begin


@pytest.mark.parametrize(("task", "packing"), [("sft", False), ("sft", True), ("dpo", False), ("classify", False)])
def test_micro_batches_hold_every_example_once_and_pairs_together(task, packing, files, tmp_path):
    data = prepare(DataConfig(files=(str(files[task]),), val_fraction=0), bytes_tokenizer(), tmp_path / "data", 64)
    whole = FinetuneBatches(data, "train", 32, 0, packing=packing)
    mesh = sharding.make_mesh(4, 2, 1)
    references = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32) if task == "dpo" else None
    expected = list(Batches(whole, mesh, references).once())
    parts = list(Batches(whole, mesh, references, micro_batches=4).once())
    groups = 2 if task == "dpo" else 1
    assert {len(index_B) for index_B, _ in parts} == {8 * groups}

    def rows(batches):
        """Every row with its number; of pairs both rows in one."""
        found = []
        for index_B, batch in batches:
            for place in np.flatnonzero(index_B[: len(index_B) // groups] >= 0):
                both = slice(place, None, len(index_B) // groups)
                found.append(
                    (*index_B[both].tolist(), *(np.asarray(x)[both].tobytes() for x in jax.tree.leaves(batch)))
                )
        return sorted(found)

    assert rows(parts) == rows(expected)


def test_micro_batches_bound_validation_and_reference_and_change_no_value(begin, tmp_path, monkeypatch):
    """Micro-batches of one pair: one on each of eight devices."""
    from train.record.metrics import read

    found, rows, of = [], [], OfEveryLength.of

    def spying(programs, *args):
        rows.append(args[2].tokens_BT.shape[0])
        return of(programs, *args)

    monkeypatch.setattr(OfEveryLength, "of", spying)
    for number, (flags, expected) in enumerate([((), {32}), (("--micro-batch", "1"), {32, 16})]):
        runs = tmp_path / str(number)
        rows.clear()
        assert begin("dpo", runs, "--batch-size", "16", "--steps", "1", "--lora", *flags) == 0
        assert set(rows) == expected
        assert rows.count(32) == (2 if flags else len(rows))  # compiled and called: the step alone reads whole batches
        found.append({name: value for name, value in list(read(runs / "dpo"))[-1].items() if name.startswith("val_")})
    assert found[0].keys() >= {"val_loss", "val_reward_margin"}
    assert found[1] == pytest.approx(found[0], rel=1e-4, abs=1e-5)


def test_a_reference_that_was_stopped_goes_on_with_what_is_missing(begin, tmp_path, monkeypatch):
    polls = []

    def stopping_at(last):
        polls.clear()

        def agreed(_):
            polls.append(len(polls))
            return len(polls) >= last

        monkeypatch.setattr(StopRequest, "agreed", agreed)

    def reference(runs):
        with np.load(next((runs / "dpo/reference").iterdir())) as file:
            return {name: file[name] for name in file}

    stopping_at(1 << 30)
    assert begin("dpo", tmp_path / "whole", *PAIRS) == 0
    expected = reference(tmp_path / "whole")
    stopping_at(4)  # before compiling's end, then before the third micro-batch
    assert begin("dpo", tmp_path / "cut", *PAIRS) == 75
    found = reference(tmp_path / "cut")
    assert np.isfinite(found["train"]).all(axis=1).sum() == 2 * 8
    assert np.isnan(found["val"]).all()
    stopping_at(4)
    assert call("--runs", tmp_path / "cut", "--run", "dpo", "--resume") == 75
    assert np.isfinite(reference(tmp_path / "cut")["train"]).all(axis=1).sum() == 4 * 8
    stopping_at(1 << 30)
    assert call("--runs", tmp_path / "cut", "--run", "dpo", "--resume") == 0
    again = reference(tmp_path / "cut")
    for split in ("train", "val"):
        np.testing.assert_array_equal(again[split], expected[split])


WORKER = """
import sys
from pathlib import Path
import jax, numpy as np
from train.cluster.signals import StopRequest
from train.finetune.reference import open_reference

address, rank, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
jax.distributed.initialize(address, num_processes=2, process_id=rank)
for asked_at in (2, 9):
    stop, computed = StopRequest(), []

    def compute(known):
        for pair in np.flatnonzero(np.isnan(known["train"]).all(axis=1)):
            if rank == 1 and pair == asked_at:
                stop.name = "SIGTERM"
            if stop.agreed():
                return False
            known["train"][pair] = pair, -pair
            computed.append(int(pair))
        return True

    # The second process sees no file: what is known is the first one's.
    found = open_reference(folder / str(rank), "name", {"train": np.ones(6, bool)}, compute, rank == 0)
    print(computed, found is not None, flush=True)
"""


def test_processes_agree_on_where_a_reference_stops_and_goes_on(tmp_path):
    (port,) = free_ports(1)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, f"127.0.0.1:{port}", str(rank), str(tmp_path)],
            env=os.environ | {"JAX_NUM_CPU_DEVICES": "2"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    for out, error in [worker.communicate(timeout=120) for worker in workers]:
        said = [line for line in out.splitlines() if line.startswith("[") and not line.startswith("[Gloo]")]
        assert said == ["[0, 1] False", "[2, 3, 4, 5] True"], error
