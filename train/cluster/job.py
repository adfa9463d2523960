"""The files by which a run and its batch script inform each other, in the folder `LLM_JAX_JOB` of slurm/env.sh.

    run        the run's folder, so that the script can look for new checkpoints before it requeues a job that died
    stopped    exit status, and why this job must not be requeued: a mistake of the user's, or a run that stopped itself
    rendezvous-…    see `train.cluster.rendezvous`

srun reports the largest exit status of all tasks. When one process stops for a reason of its own, JAX ends the others
with a larger status, as if a node had died. So the status that counts is written to the file `stopped`.
"""

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jax

from llm_jax.command_line import USER_ERRORS
from llm_jax.command_line.place import Place
from llm_jax.files import write
from llm_jax.files.faults import describe
from llm_jax.files.json_files import append_line, read_log
from train.cluster import rendezvous

STARTS = "jobs.jsonl"  # in the run's folder: one line for every start under SLURM
OF_THE_RUNTIME = re.compile(
    r"Gloo|NCCL|coordination service|heartbeat|\b(UNAVAILABLE|ABORTED|DEADLINE_EXCEEDED): ", re.I
)
EXIT_LOST = 69  # EX_UNAVAILABLE of sysexits.h: another process of the job died; starting again may help


def shared_folder(run: Path) -> Path:
    """Where the processes of a job leave notes for each other and for the batch script."""
    return Path(os.environ.get("LLM_JAX_JOB") or run / ".slurm")


def introduce(run: Path) -> None:
    """On the first process, before anything can die: tells the batch script which run this job is about."""
    folder = shared_folder(run)
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "run", f"{run.absolute()}\n")


def stop(run: Path, status: int, reason: str) -> None:
    """Tells the batch script not to requeue the job."""
    path = shared_folder(run) / "stopped"
    # The first process to write names the cause; the others end because of it. Errors are ignored, because the cause
    # may be that the folder cannot be written to.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x") as file:
            file.write(f"{status} {reason}\n")


def record_start(run: Path, place: Place, step: int) -> None:
    """Adds a line to the run's `jobs.jsonl`: which job goes on with it, where, and from which step."""
    line = {
        "job": place.job,
        "restarts": place.restarts,
        "node": place.node_name,
        "nodes": place.nodes,
        "processes": place.processes,
        "from_step": step,
        "time": int(time.time()),  # seconds since 1970
    }
    append_line(run / STARTS, line)


def starts(run: Path) -> list[dict]:
    """All lines of `jobs.jsonl`; none for a run outside of SLURM."""
    path = run / STARTS
    return list(read_log(path, _is_start)) if path.exists() else []


def _is_start(line: dict) -> bool:
    counts = (line.get(name) for name in ("restarts", "nodes", "processes", "from_step", "time"))
    return isinstance(line.get("job"), str) and all(type(count) is int and count >= 0 for count in counts)


@contextlib.contextmanager
def ending_together(run: Path, place: Place | None) -> Iterator[None]:
    """An error in one process ends the whole job step, at once and with its message. Does nothing outside of SLURM.

    The error is noted for the batch script. A process that has joined others then leaves without Python's usual exit:
    JAX would wait there for the others, which wait for this process in the middle of a step.
    """
    if place is None:
        yield
        return
    try:
        yield
    except USER_ERRORS as error:
        if place.processes > 1 and _tells_of_a_dead_peer(error):
            reason = str(error).splitlines()[0]
            _leave(
                EXIT_LOST, f"process {place.process} on {place.node_name}: another process of the job died ({reason})"
            )
        described = "\n".join([describe(error), *getattr(error, "__notes__", [])])
        message = f"process {place.process} on {place.node_name}: {described}" if place.process else described
        stop(run, 2, message)
        if place.processes == 1:
            raise
        if place.is_first:
            rendezvous.announce_failure(shared_folder(run), place, described)
        _leave(2, message)


def _tells_of_a_dead_peer(error: BaseException) -> bool:
    """JAX has no exception class for this: it raises an error of the runtime, or another error with its text."""
    return isinstance(error, jax.errors.JaxRuntimeError) or bool(OF_THE_RUNTIME.search(str(error)))


def _leave(status: int, message: str) -> None:
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(status)
