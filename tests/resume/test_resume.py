"""A run that was stopped goes on as the three tiers promise: on the same devices to the bit, on others with the same
tokens and losses within the stated tolerance, and from an older checkpoint, announced, where the newest is damaged."""

import math
import signal
import time

import numpy as np
import pytest
from small_runs import LLAMA_FLAGS

from train.pretrain.resume import TOLERANCE

STEPS, SAVE_EVERY, EVAL_EVERY = 60, 5, 15
FLAGS = f"--steps {STEPS} --checkpoint-every {SAVE_EVERY} --eval-every {EVAL_EVERY}".split()


def start_and_await_checkpoint(run, *flags: str, devices: int = 1):
    """Starts the run; returns its process when the first checkpoint is committed."""
    process = run.start(*flags, devices=devices)
    while not run.committed():
        assert process.poll() is None, run.log.read_text()
        time.sleep(0.002)
    return process


def stop(process, run, by: signal.Signals) -> int:
    """Signals the run's process; returns the step that it says it has saved."""
    process.send_signal(by)
    assert process.wait(timeout=120) == 75, run.log.read_text()
    saved = max(run.committed())
    assert f"{by.name}: saved step {saved}; go on with --resume" in run.log.read_text()
    return saved


def assert_same_end(run, whole) -> None:
    """Every line of the metrics but its clocks, and every bit of the last state."""
    assert run.record() == whole.record()
    for found, expected in zip(run.state(), whole.state(), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.fixture(scope="module")
def whole(new_run):
    """The run that nothing happened to."""
    run = new_run("whole", *FLAGS)
    run.finish()
    return run


@pytest.fixture(scope="module")
def stopped(new_run):
    """A run that SIGTERM stopped on one device."""
    run = new_run("stopped", *FLAGS)
    stop(start_and_await_checkpoint(run), run, signal.SIGTERM)
    return run


def test_metrics_have_every_step_and_validation_where_it_is_due(whole):
    record = whole.record()
    assert [line["step"] for line in record] == list(range(1, STEPS + 1))
    assert [line["step"] for line in record if "val_loss" in line] == list(range(EVAL_EVERY, STEPS + 1, EVAL_EVERY))
    assert record[-1]["val_loss"] < record[0]["train_loss"] < 1.1 * math.log(17)  # 17 characters; it starts uniform


def test_run_stopped_by_sigterm_goes_on_to_a_bit_equal_end(stopped, whole):
    run = stopped.copy("continued")
    saved = max(run.committed())
    assert f"resume: from step {saved}, same devices: bit-equal" in run.finish()
    assert_same_end(run, whole)


def test_damaged_checkpoint_is_announced_and_the_run_goes_on_from_the_one_before_it(stopped, whole):
    run = stopped.copy("damaged")
    *_, before, newest = run.committed()
    victim = next((run.folder / "checkpoints" / f"{newest:08d}").glob("state/ocdbt.process_0/d/*"))
    victim.write_bytes(victim.read_bytes()[:-1])
    log = run.finish()
    assert log.count(f"WARNING: the checkpoint of step {newest} is damaged: {victim} has ") == 1
    assert f"falling back to step {before}" in log
    assert f"resume: from step {before}, same devices: bit-equal" in log
    assert_same_end(run, whole)


def test_run_of_which_every_checkpoint_is_damaged_is_refused_with_the_files_names(stopped):
    run = stopped.copy("lost")
    for step in run.committed():
        (run.folder / "checkpoints" / f"{step:08d}" / "metadata.json").write_text("{}")
    assert run.start().wait(timeout=120) == 2
    log = run.log.read_text()
    assert "error: no intact checkpoint" in log
    assert all(f"{step:08d}/metadata.json has 2 bytes" in log for step in run.committed())


def test_second_job_on_a_run_is_refused_while_the_first_lives(new_run, tmp_path):
    run = new_run("busy", *FLAGS, "--steps", "1000000")
    first = start_and_await_checkpoint(run)
    try:
        assert run.start(log=tmp_path / "second.log").wait(timeout=120) == 2
        assert f"is in use by process {first.pid} on " in (tmp_path / "second.log").read_text()
        assert first.poll() is None
    finally:
        first.kill()
        first.wait()


def test_run_on_4_devices_stopped_by_sigusr1_sees_the_same_tokens_on_2_and_on_8(new_run, whole):
    on_four = new_run("four", *FLAGS)
    saved = stop(start_and_await_checkpoint(on_four, "--fsdp", "4", devices=4), on_four, signal.SIGUSR1)
    tolerance = float(TOLERANCE.split()[0])
    for devices in (2, 8):
        run = on_four.copy(f"on-{devices}")
        log = run.finish("--fsdp", str(devices), devices=devices)
        assert f"resume: from step {saved}, other devices (mesh" in log
        assert f"losses equal within {TOLERANCE}" in log
        for found, expected in zip(run.record(), whole.record(), strict=True):
            assert found.keys() == expected.keys()
            for key in ("step", "tokens"):
                assert found[key] == expected[key]
            for key in found.keys() & {"train_loss", "val_loss", "lr"}:
                assert found[key] == pytest.approx(expected[key], rel=tolerance), (found["step"], key)


@pytest.mark.long
def test_a_llama_stopped_on_4_devices_goes_on_on_2_with_the_same_tokens(new_run):
    flags = [*FLAGS, *LLAMA_FLAGS.split()]
    whole = new_run("llama-whole", *flags)
    whole.finish()
    run = new_run("llama", *flags)
    saved = stop(start_and_await_checkpoint(run, "--fsdp", "4", devices=4), run, signal.SIGUSR1)
    log = run.finish("--fsdp", "2", devices=2)
    assert f"resume: from step {saved}, other devices (mesh" in log
    for found, expected in zip(run.record(), whole.record(), strict=True):
        assert (found["step"], found["tokens"]) == (expected["step"], expected["tokens"])
        assert found["train_loss"] == pytest.approx(expected["train_loss"], rel=float(TOLERANCE.split()[0]))
