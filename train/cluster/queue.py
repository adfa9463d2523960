"""Looks jobs up in SLURM: squeue lists those that wait or run, scontrol those that ended a moment ago, and sacct older
ones, if the cluster keeps accounts (many do not)."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

FIELDS = ("number", "name", "state", "reason", "elapsed", "left", "nodes")
SQUEUE_FORMAT = "%i|%j|%T|%r|%M|%L|%N"
SACCT_FORMAT = "JobID,JobName,State,ExitCode,Elapsed,Timelimit,NodeList"
TIMEOUT_SECONDS = 60  # a busy controller may take its time


@dataclass(frozen=True)
class QueuedJob:
    number: str
    name: str
    state: str  # PENDING, RUNNING, COMPLETED, …
    reason: str  # why it waits, or how it ended
    elapsed: str  # DAYS-HOURS:MINUTES:SECONDS, as SLURM prints it
    left: str
    nodes: str

    @property
    def is_alive(self) -> bool:
        return self.state in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED")


def require_slurm(instead: str) -> None:
    """Raises FileNotFoundError, with what to do instead, on a machine without SLURM."""
    if shutil.which("sbatch") is None:
        raise FileNotFoundError(
            f"no SLURM on this machine (sbatch is not on the PATH): log in to the cluster, or {instead}"
        )


def alive(name: str) -> list[QueuedJob]:
    """This user's jobs of that name which wait or run."""
    return [
        QueuedJob(*line.split("|"))
        for line in _lines("squeue", "--me", "--noheader", f"--name={name}", "-o", SQUEUE_FORMAT)
    ]


def look_up(numbers: Sequence[str]) -> list[QueuedJob]:
    """These jobs, as far as SLURM still knows them, in this order."""
    found = [_recent(number) or _accounted(number) for number in numbers]
    return [job for job in found if job]


def _recent(number: str) -> QueuedJob | None:
    lines = _lines("squeue", "--noheader", "--states=all", f"--jobs={number}", "-o", SQUEUE_FORMAT)
    if not lines:
        return None
    job = QueuedJob(*lines[0].split("|"))
    if job.is_alive:
        return job
    facts = dict(re.findall(r"(\S+?)=(\S*)", " ".join(_lines("scontrol", "--oneliner", "show", "job", number))))
    return QueuedJob(**{**vars(job), "reason": f"exit status {facts.get('ExitCode', '?').split(':')[0]}"})


def _accounted(number: str) -> QueuedJob | None:
    for line in _lines("sacct", "-X", "-n", "-P", "-j", number, "-o", SACCT_FORMAT):
        number, name, state, code, elapsed, _, nodes = line.split("|")
        return QueuedJob(number, name, state, f"exit status {code.split(':')[0]}", elapsed, "", nodes)
    return None


def _lines(*command: str) -> list[str]:
    """Output lines; none where the program is missing or refuses (an unknown job, no accounting)."""
    if shutil.which(command[0]) is None:
        return []
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    return done.stdout.splitlines() if done.returncode == 0 else []


def most_gpus(partition: str | None) -> int | None:
    """GPUs on the node that has most of them; None where SLURM does not say."""
    lines = _nodes(partition, "%G")
    counts = [int(count) for line in lines for count in re.findall(r"gpu:(?:[^:,(]+:)?(\d+)", line)]
    return max(counts, default=None)


def count_nodes(partition: str | None) -> int | None:
    """Nodes of the partition, or of the cluster; None where SLURM does not say."""
    return len(set(_nodes(partition, "%N"))) or None


def _nodes(partition: str | None, field: str) -> list[str]:
    """One field of sinfo for each node (several times for a node of several partitions)."""
    of = [f"--partition={partition}"] if partition else []
    return _lines("sinfo", "--noheader", "--Node", *of, "-o", field)


def default_partition() -> str | None:
    """The partition of jobs that name none; sinfo marks it with a star."""
    names = _lines("sinfo", "--noheader", "-o", "%P")
    return next((name.removesuffix("*") for name in names if name.endswith("*")), None)
