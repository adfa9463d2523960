"""What becomes of a job when its processes have ended: `end_or_requeue` of slurm/env.sh, alone and on a real SLURM."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from slurm_cluster import wrapper

REPOSITORY = Path(__file__).resolve().parents[2]

SCRIPT = """
set -euo pipefail
source slurm/env.sh
eval "$2"
end_or_requeue "$1"
"""


class Batch:
    """A batch script in whose job everything has ended, with an scontrol that notes a requeue."""

    def __init__(self, folder: Path, pretend) -> None:
        self.folder = folder
        shutil.copytree(REPOSITORY / "slurm", folder / "slurm", ignore=shutil.ignore_patterns("site.env", "job-*"))
        self.state = "JobState=RUNNING Reason=None "
        self.programs = pretend(sleep="", squeue="")
        self.pretend = pretend

    def end(self, status: int, meanwhile: str = "") -> tuple[int, str, bool]:
        """The script's own exit status, what it logs, and whether the job goes back into the queue.

        `meanwhile` is what its processes do in shell: env.sh removes, at its start, what an earlier attempt has noted.
        """
        requeued = self.folder / "requeued"
        requeued.unlink(missing_ok=True)
        self.pretend(scontrol=f'case "$1" in requeue) touch "{requeued}" ;; *) echo "{self.state}" ;; esac')
        environment = {
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "SLURM_JOB_ID": "7",
            "SLURM_SUBMIT_DIR": str(self.folder),
            "UV_PROJECT_ENVIRONMENT": sys.prefix,
        }
        command = ["bash", "-c", SCRIPT, "bash", str(status), meanwhile]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=30)
        assert not done.stderr
        return done.returncode, done.stdout, requeued.exists()

    def commit(self, step: int) -> None:
        """The run has come to another checkpoint."""
        (self.folder / "slurm/logs/job-7").mkdir(exist_ok=True)
        (self.folder / "slurm/logs/job-7/run").write_text(f"{self.folder / 'runs/first'}\n")
        (self.folder / f"runs/first/checkpoints/{step:08}").mkdir(parents=True)


@pytest.fixture
def batch(tmp_path, pretend):
    return Batch(tmp_path, pretend)


def test_complete_run_ends(batch):
    status, log, requeued = batch.end(0)
    assert (status, requeued) == (0, False)
    assert log.endswith("job 7: complete\n")


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (75, "saved on request"),
        (143, "asked to stop before it had begun"),
        (69, "a process died (status 69)"),
        (134, "a process died (status 134)"),  # SIGABRT, as JAX ends those who are left behind
        (137, "a process died (status 137)"),
        (139, "a process died (status 139)"),
    ],
)
def test_saved_run_and_dead_process_go_back_into_the_queue(batch, status, why):
    _, log, requeued = batch.end(status)
    assert requeued
    assert f"{why}: back into the queue" in log


@pytest.mark.parametrize("status", [1, 2, 3, 126, 127])
def test_mistake_is_not_repeated(batch, status):
    assert batch.end(status)[::2] == (status, False)


def test_run_that_stopped_itself_ends_with_its_own_status_and_reason_whatever_the_others_died_of(batch):
    note = 'mkdir -p "$LLM_JAX_JOB"; echo "3 step 7: not finite" >"$LLM_JAX_JOB/stopped"'
    status, log, requeued = batch.end(134, note)
    assert (status, requeued) == (3, False)
    assert "stopped, not requeued: step 7: not finite" in log
    assert batch.end(134)[2], "the note was of that attempt alone"


def test_cancelled_job_does_not_come_back(batch):
    batch.state = "JobState=COMPLETING Reason=None Requeue=1 Restarts=0 BatchFlag=1"
    status, log, requeued = batch.end(75)
    assert (status, requeued) == (75, False)
    assert "cancelled, so not requeued" in log


def test_job_that_slurm_itself_has_requeued_is_not_called_cancelled(batch):
    batch.state = "JobState=COMPLETING Reason=None Requeue=1 Restarts=1 BatchFlag=1"
    status, log, requeued = batch.end(143)
    assert (status, requeued) == (143, False)
    assert "SLURM has put the job back into the queue" in log
    assert "cancelled" not in log
    assert "cancelled, so not requeued" in batch.end(143, "export SLURM_RESTART_COUNT=1")[1]


@pytest.mark.parametrize(("status", "limit"), [(137, 3), (69, 3), (75, 10), (143, 10)])
def test_job_that_comes_to_no_checkpoint_is_given_up(batch, status, limit):
    assert [batch.end(status)[2] for _ in range(limit)] == [True] * (limit - 1) + [False]
    code, log, requeued = batch.end(status)
    assert (code, requeued) == (status, False)
    assert f"no new checkpoint in {limit} attempts: not requeued" in log


def test_new_checkpoint_begins_the_count_anew(batch):
    for step in (5, 10, 15):
        batch.commit(step)
        assert [batch.end(137)[2] for _ in range(2)] == [True, True]
    assert not batch.end(137)[2]


DIES = """
import os, signal
from train.cluster.signals import StopRequest
StopRequest.agreed = lambda self: os.kill(os.getpid(), signal.SIGKILL)  # at the first step
"""


@pytest.mark.slurm
def test_job_whose_process_is_killed_each_time_is_given_up_after_three_attempts(project, run_in, tmp_path):
    run = run_in(project, "dies")
    job = project.submit("pretrain", *run.flags, LLM_JAX_CONTAINER=wrapper(tmp_path / "dies.py", DIES))
    log = job.fail()
    assert job.wait()["Restarts"] == "2"
    assert re.findall(r"attempt (\d) on", log) == ["1", "2", "3"]
    assert log.count("a process died (status 137): back into the queue") == 2
    assert "a process died (status 137), and no new checkpoint in 3 attempts: not requeued" in log


@pytest.mark.slurm
def test_damaged_data_is_named_and_not_tried_again(project, run_in, shards, tmp_path):
    shutil.copytree(shards, tmp_path / "damaged")
    (shard,) = (tmp_path / "damaged").glob("train_*.bin")
    os.truncate(shard, shard.stat().st_size - 100)
    run = run_in(project, "damaged", "--data", str(tmp_path / "damaged"))
    job = project.submit("pretrain", *run.flags, flags="--nodes=2 --ntasks-per-node=1")
    log = job.fail()
    assert job.wait()["Restarts"] == "0"
    assert job.wait()["ExitCode"] == "2:0"
    assert re.search(rf"stopped, not requeued: .*{shard.name}", log), log
    assert "Traceback" not in log
