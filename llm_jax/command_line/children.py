"""Ends the processes that multiprocessing has started, when their parent exits without waiting for them.

Otherwise a worker that loses its parent while it starts prints a traceback. multiprocessing's resource tracker, which
removes the semaphores that are left, prints a warning. Neither helps the user.
"""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

MARK = b"--multiprocessing-fork"  # the last argument of a process that multiprocessing spawns


def end_all() -> None:
    """Kills the workers of this process. The resource tracker runs on until it has removed its resources."""
    # A process that is being started is not yet in multiprocessing's list.
    for pid in {*_spawned(), *(child.pid for child in multiprocessing.active_children() if child.pid)}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def quiet_tracker() -> Iterator[None]:
    """A resource tracker that starts in this block does not warn of semaphores that a killed parent has left."""
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, [before, "ignore:resource_tracker:UserWarning"]))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before


def _spawned() -> set[int]:
    """The child processes that multiprocessing has spawned, read from Linux's /proc; none on other systems."""
    children: set[int] = set()
    for listing in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            children |= {int(pid) for pid in listing.read_text().split()}
    return {pid for pid in children if MARK in _command_of(pid)}


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
