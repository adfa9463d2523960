"""A lock, so that only one job at a time writes to a run. The operating system frees it when the holding process ends.

The `filelock` library takes the lock (`flock` on Unix). A file beside it names the holder, for error messages only. A
shared file system applies the lock across machines only if it is mounted for that (NFSv4 is, Lustre with `-o flock`);
otherwise two machines can each take the lock.
"""

import datetime
import os
import socket
from pathlib import Path
from types import TracebackType

import filelock

from llm_jax.files.json_files import read_json, write_json


class RunLock:
    """Context manager that holds the lock of a run's folder.

        with RunLock(Path("runs/shakespeare")):
            ...

    Several processes of one job share a run, so the first of them takes the lock for all.

    Args:
        run: the run's folder.
        patience: seconds to wait for another holder.

    Raises:
        RuntimeError: on entering, if another job still has the lock after `patience` seconds; names its process and
            machine.
    """

    def __init__(self, run: Path, patience: float = 0.0) -> None:
        self._run, self._patience = run, patience
        self._holder = run / ".lock.json"
        self._lock = filelock.FileLock(run / ".lock")

    def __enter__(self) -> "RunLock":
        self._run.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=self._patience)
        except filelock.Timeout:
            raise RuntimeError(
                f"run {self._run} is in use by {self._describe_holder()}: wait for that job, stop it, or name another "
                "run"
            ) from None
        since = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
        write_json(self._holder, holder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._holder.unlink(missing_ok=True)
        self._lock.release()

    def _describe_holder(self) -> str:
        try:
            holder = read_json(self._holder)
            return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
        except (OSError, ValueError, KeyError, TypeError):  # the holder has not written the file yet, or cannot write
            return "another process"
