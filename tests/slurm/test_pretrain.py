"""Training under a real SLURM: the same losses as without it, and nothing lost or repeated whatever happens to a job.

Jobs that something is to happen to run "slowly": a wrapper, set where a site would name its container, makes them wait
a moment before every step of their first start. Another notes which tokens each process reads. No number changes.
"""

import json
import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from slurm_cluster import Job, wrapper

pytestmark = pytest.mark.slurm

TWO_BY_TWO = "--nodes=2 --ntasks-per-node=2"
STEPS = 100
FLAGS = f"--steps {STEPS} --eval-every 20 --checkpoint-every 5 --keep-last 100".split()
HEARTBEAT_SECONDS = 20  # as tests/slurm/conftest.py sets it

RECORDING = """
import hashlib, os
from train.data.loader import TokenBatches
batch = TokenBatches.batch
def recorded(self, step, rows=slice(None)):
    tokens = batch(self, step, rows)
    if self.seed is not None:  # for training
        with open(f"{os.environ['READ']}-{os.environ['SLURM_PROCID']}", "a") as file:
            for row, line in zip(range(*rows.indices(self.global_batch)), tokens, strict=True):
                file.write(f"{step} {row} {hashlib.sha256(line.tobytes()).hexdigest()}\\n")
    return tokens
TokenBatches.batch = recorded
"""


def start(project, run, *flags: str, layout: str = TWO_BY_TWO, **environment: str):
    return project.submit("pretrain", *run.flags, *flags, flags=layout, **environment)


def recording(folder: Path) -> dict[str, str]:
    return {"LLM_JAX_CONTAINER": wrapper(folder / "recording.py", RECORDING), "READ": str(folder / "read")}


def tokens_read(folder: Path) -> dict[tuple[int, int], set[str]]:
    """What was read for each row of each step, by whichever process."""
    read: dict[tuple[int, int], set[str]] = {}
    for file in folder.glob("read-*"):
        for step, row, digest in map(str.split, file.read_text().splitlines()):
            read.setdefault((int(step), int(row)), set()).add(digest)
    return read


@pytest.fixture(scope="module")
def whole(module_project, run_in):
    """The run that nothing happened to, on two nodes of two processes."""
    run = run_in(module_project, "whole", *FLAGS)
    start(module_project, run, **recording(module_project.folder)).complete()
    return run


def await_steps(run, number: int, timeout: float = 120) -> None:
    deadline = time.monotonic() + timeout
    while not (run.folder / "metrics.jsonl").exists() or max(run.committed(), default=0) < number:
        assert time.monotonic() < deadline, f"no checkpoint of step {number}"
        time.sleep(0.1)


def assert_same_end(run, whole) -> None:
    """Every line of the metrics but its clocks, and every bit of the last state."""
    assert run.record() == whole.record()
    for found, expected in zip(run.state(), whole.state(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_two_nodes_of_two_processes_give_the_losses_of_one_process(whole, new_run):
    alone = new_run("alone", *FLAGS)
    alone.finish()
    for ours, theirs in zip(whole.record(), alone.record(), strict=True):
        assert ours.keys() == theirs.keys()
        assert ours["step"] == theirs["step"]
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-5)
    assert ours["val_loss"] == pytest.approx(theirs["val_loss"], rel=1e-5)


def test_only_the_first_process_writes_metrics(whole):
    lines = (whole.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, STEPS + 1))
    assert len(list((whole.folder / "tensorboard").iterdir())) == 1
    assert len((whole.folder / "jobs.jsonl").read_text().splitlines()) == 1


def test_term_saves_requeues_and_goes_on_bit_equal(project, run_in, whole, slowly):
    run = run_in(project, "term", *FLAGS)
    job = start(project, run, **slowly)
    await_steps(run, 5)
    project.cluster.run("scancel", "--signal=TERM", job.number)
    log = job.complete()
    assert_requeued_and_resumed(log, "SIGTERM")
    assert_same_end(run, whole)


def assert_requeued_and_resumed(log: str, by: str) -> None:
    saved = re.search(rf"{by}: saved step (\d+)", log)
    assert saved, log
    assert "saved on request: back into the queue" in log
    assert "attempt 3" not in log
    assert f"resume: from step {saved[1]}, same devices: bit-equal" in log
    assert "attempt 2 on n[1-2]" in log


def test_time_limit_saves_requeues_and_goes_on_bit_equal(project, run_in, whole, slowly):
    run = run_in(project, "limit", *FLAGS)
    job = start(project, run, **slowly)
    await_steps(run, 5)
    # The shortest limit there is; SLURM looks every half minute, and 120 s before the end have then begun.
    project.cluster.run("scontrol", "update", f"JobId={job.number}", "TimeLimit=1")
    job.wait("PENDING")
    project.cluster.run("scontrol", "update", f"JobId={job.number}", "TimeLimit=10")
    assert_requeued_and_resumed(job.complete(), "SIGTERM")
    assert_same_end(run, whole)


def test_killed_process_ends_the_job_within_the_heartbeat_and_it_goes_on(project, run_in, whole, slowly):
    run = run_in(project, "killed", *FLAGS)
    job = start(project, run, **slowly)
    await_steps(run, 5)
    os.kill(project.cluster.task(job.number, process=2), signal.SIGKILL)
    killed = time.monotonic()
    job.await_text("back into the queue", timeout=HEARTBEAT_SECONDS + 20)
    assert time.monotonic() - killed < HEARTBEAT_SECONDS + 15
    log = job.complete()
    assert "another process of the job died" in log or "fatal errors" in log
    assert re.search(r"resume: from step \d+, same devices: bit-equal", log)
    assert_same_end(run, whole)
    assert not list((run.folder / "checkpoints").glob(".partial-*"))


def test_node_that_dies_gives_the_job_back_and_it_goes_on(project, run_in, whole, slowly):
    run = run_in(project, "node", *FLAGS)
    job = start(project, run, **slowly)
    await_steps(run, 5)
    project.cluster.kill_node("n2")
    job.wait("PENDING", timeout=90)
    project.cluster.start_node("n2")
    log = job.complete()
    assert "cancelled" not in log
    assert re.search(r"resume: from step \d+, same devices: bit-equal", log)
    assert_same_end(run, whole)


def test_four_processes_resumed_by_two_see_the_same_tokens(project, run_in, whole):
    run = run_in(project, "fewer", *FLAGS)
    shutil.copytree(whole.folder, run.folder)
    for step in run.committed():
        if step > 50:
            shutil.rmtree(run.folder / "checkpoints" / f"{step:08}")
    layout = "--nodes=1 --ntasks-per-node=2"
    log = start(project, run, layout=layout, **recording(project.folder)).complete()
    assert "resume: from step 50, other devices" in log
    assert "processes 4 → 2" in log
    before, after = tokens_read(whole.folder.parents[1]), tokens_read(project.folder)
    assert before.keys() == {(step, row) for step in range(STEPS) for row in range(8)}
    assert len(set().union(*before.values())) > 400, "nearly every row is another: the digests tell them apart"
    assert after == {place: digest for place, digest in before.items() if place[0] >= 50}
    assert len(list(project.folder.glob("read-*"))) == 2
    for ours, theirs in zip(run.record(), whole.record(), strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-4)


def test_run_that_is_not_finite_is_not_requeued(project, run_in):
    run = run_in(project, "nan", *FLAGS, "--learning-rate", "1e38", "--max-skipped", "3")
    job = start(project, run)
    log = job.fail()
    assert job.wait()["ExitCode"] == "3:0"
    assert job.wait()["Restarts"] == "0"
    assert "stopped, not requeued: step" in log
    assert "steps in a row were not" in log


def test_missing_data_ends_all_processes_at_once_with_one_reason(project, run_in):
    run = run_in(project, "missing", "--data", "nowhere")
    job = start(project, run)
    log = job.fail()
    assert job.wait()["ExitCode"] == "2:0"
    assert "stopped, not requeued: nowhere: no such folder" in log
    assert "process 0 failed: nowhere" in log
    assert "Traceback" not in log


def test_second_job_on_the_same_run_is_refused_when_it_is_submitted_and_when_it_starts(project, run_in, slowly):
    def front_door(*arguments: str, check: bool = True):
        command = ["env", "-C", str(project.folder), sys.executable, "-m", "train", *arguments]
        return project.cluster.run(*command, check=check, **slowly)

    run = run_in(project, "twice", *FLAGS)
    layout = ["--nodes", "2", "--tasks-per-node", "2", "--time", "10"]
    said = front_door("submit", "pretrain", *layout, "--", *run.flags).stdout
    number = re.match(r"job (\d+) \(twice\)\n", said)
    assert number, said
    assert f"tail -F slurm/logs/twice-{number[1]}.log" in said
    first = Job(project.cluster, number[1], project.log("twice", number[1]))
    await_steps(run, 5)
    status = front_door("status", "twice").stdout
    assert re.search(rf"{first.number} running .* on n\[1-2\] · time limit in 9:", status), status
    assert re.search(r"0 restarts · last .* from step 0 on 2 nodes × 2 processes", status), status
    assert re.search(r"step \d+ of 100 \(\d+\.0%\)", status), status
    assert re.search(r"loss +\d\.\d{4}", status), status
    assert re.search(r"\d+ tokens/s", status), status
    assert re.search(r"0:00:\d\d of computing", status), status

    again = front_door("submit", "pretrain", *layout, "--", *run.flags, check=False)
    assert again.returncode == 2
    assert again.stderr.startswith(f"error: job {first.number} (running) is already training run twice: wait for it")
    second = start(project, run, layout="--nodes=1")  # past the front door: then the lock refuses
    assert re.search(r"stopped, not requeued: run runs/twice is in use by process \d+ on", second.fail())
    project.cluster.run("scancel", first.number)
    assert first.wait()["JobState"] == "CANCELLED"
    first.await_text("cancelled, so not requeued")
    assert run.committed(), "what was trained before the job was cancelled is saved"


def test_gpus_that_jax_does_not_see_are_reported_with_the_setting_to_change(project, run_in):
    run = run_in(project, "gpus", *FLAGS)
    log = start(project, run, layout="--nodes=1 --gpus-per-node=2", JAX_PLATFORMS="").fail()
    assert "2 processes per node" in log
    assert re.search("SLURM gave node n[12] 2 GPUs, but JAX sees none: set LLM_JAX_EXTRAS=cuda12", log)


def test_more_gpus_than_a_node_has_are_refused_by_sbatch(project):
    done = project.cluster.run(
        "sbatch", "--gpus-per-node=9", str(project.folder / "slurm/pretrain.sbatch"), check=False
    )
    assert done.returncode != 0
    assert "Requested node configuration is not available" in done.stderr
