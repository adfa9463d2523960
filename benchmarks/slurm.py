"""How long things take on a SLURM cluster that are not training: start, requeue, and noticing that a process is gone.

A cluster of two nodes is started on this machine, as the tests do (Debian's slurm-wlm and munge), and trains a tiny
model on 2 nodes × 2 processes. SLURM makes a requeued job wait for two minutes; that wait is cut short and not counted.

    python benchmarks/slurm.py --out benchmarks/results/slurm.json
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro
from measuring import machine, save, show

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests"))  # the cluster is the tests' own

from slurm_cluster import Cluster, Job, missing_programs  # noqa: E402  # pyright: ignore[reportMissingImports]

MODEL = (
    "shakespeare-char --n-layers 1 --d-model 16 --n-heads 2 --context-length 16 --batch-tokens 128 --steps 1000000 "
    "--eval-every 0 --sample-every 0 --checkpoint-every 100 --log-every 1"
)
LAYOUT = ("--nodes=2", "--ntasks-per-node=2")
LOST = "another process of the job died|fatal errors|heartbeat"


@dataclass(frozen=True)
class Options:
    heartbeat_seconds: int = 20
    """LLM_JAX_HEARTBEAT_SECONDS of the jobs; the scripts' own default is 100."""

    out: Path | None = None
    """JSON file for the results."""


def main(options: Options) -> None:
    if missing := missing_programs():
        raise SystemExit(f"no {', '.join(missing)}: apt-get install slurm-wlm munge")
    where = machine()
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    shutil.copytree(REPOSITORY / "slurm", folder / "slurm", ignore=shutil.ignore_patterns("site.env", "job-*", "*.log"))
    (folder / "words.txt").write_text("to be or not to be that is the question\n" * 2000)
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "1",
        "LLM_JAX_CACHE": str(folder / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "LLM_JAX_HEARTBEAT_SECONDS": str(options.heartbeat_seconds),
        "UV_PROJECT_ENVIRONMENT": sys.prefix,
    }
    prepare = ["prepare", "--source", "words.txt", "--tokenizer", "characters", "--out", "data"]
    subprocess.run([sys.executable, "-m", "train", *prepare], cwd=folder, env=environment, check=True)
    with Cluster(folder, environment) as cluster:
        seconds = measure(cluster, folder)
    shutil.rmtree(folder)
    rows = [(what, f"{value:.1f}") for what, value in seconds.items()]
    show(f"seconds, 2 nodes × 2 processes, heartbeat {options.heartbeat_seconds} s", ("seconds",), rows)
    save(options.out, {"seconds": seconds, "heartbeat_seconds": options.heartbeat_seconds, "machine": where})


def measure(cluster: Cluster, folder: Path) -> dict[str, float]:
    seconds = {}
    for cache in ("cold", "warm"):
        begun = time.monotonic()
        job = submit(cluster, folder, cache)
        seconds[f"sbatch to the first step, {cache} compilation cache"] = await_log(job, r"step +1/") - begun
        if cache == "cold":
            cluster.cancel_all()
    asked = time.monotonic()
    cluster.run("scancel", "--signal=TERM", job.number)
    seconds["SIGTERM to saved and in the queue"] = await_log(job, "back into the queue") - asked
    job.wait("RUNNING")
    begun = await_log(job, "attempt 2")
    seconds["second start to the next step"] = await_log(job, r"bit-equal to a run that never stopped\nstep ") - begun
    killed = time.monotonic()
    os.kill(cluster.task(job.number, process=2), signal.SIGKILL)
    seconds["kill -9 of a process to the job in the queue"] = await_log(job, r"died \(status.*queue") - killed
    cluster.cancel_all()

    job = submit(cluster, folder, "frozen")
    await_log(job, r"step +1/")
    frozen = cluster.task(job.number, process=2)
    os.kill(frozen, signal.SIGSTOP)
    stopped = time.monotonic()
    seconds["process that hangs (SIGSTOP) to the end of another"] = await_log(job, LOST) - stopped
    os.kill(frozen, signal.SIGKILL)
    return seconds


def submit(cluster: Cluster, folder: Path, run: str) -> Job:
    command = ["env", "-C", str(folder), "sbatch", "--parsable", *LAYOUT, "slurm/pretrain.sbatch", *MODEL.split()]
    number = cluster.run(*command, "--data", "data", "--run", run).stdout.strip()
    return Job(cluster, number, folder / f"slurm/logs/pretrain-{number}.log")


def await_log(job: Job, pattern: str, timeout: float = 300) -> float:
    """When the pattern was first seen in the job's log."""
    deadline = time.monotonic() + timeout
    while not re.search(pattern, job.text):
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {pattern!r} after {timeout:.0f} s in {job.log}:\n{job.text[-2000:]}")
        time.sleep(0.05)
    return time.monotonic()


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
