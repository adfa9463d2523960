"""The processes that multiprocessing has started, when their parent leaves without waiting for them.

A worker that loses its parent while it starts prints a traceback, and multiprocessing's resource tracker, which then
removes the semaphores, prints a warning. Neither tells the user anything.
"""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

MARK = b"--multiprocessing-fork"  # the last argument of a process that multiprocessing spawns


def end_all() -> None:
    """Kills the workers of this process. The resource tracker lives on until it has tidied up."""
    # A process that is being started is not yet in multiprocessing's own list.
    for pid in {*_spawned(), *(child.pid for child in multiprocessing.active_children() if child.pid)}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def quiet_tracker() -> Iterator[None]:
    """A resource tracker that starts in this block does not warn of semaphores that a dead parent has left."""
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
    """The children of this process, by Linux's /proc, that were spawned; none on other systems."""
    found: set[int] = set()
    for listing in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found |= {int(pid) for pid in listing.read_text().split()}
    return {pid for pid in found if MARK in _command_of(pid)}


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
