"""Several processes evaluate together: each computes its share, and the first writes the results.

The processes need nothing but a folder that all of them see, in which each keeps its answers. So any number of them may
go on with what others began, on any machines. Each also keeps a note of its state there and renews it every few
seconds; the first process, which waits for the others' answers, sees from it that another one failed or died.

Under SLURM, srun says which process this is (`llm_jax.command_line.place`); elsewhere JAX's variables for training do:
`JAX_NUM_PROCESSES` and `JAX_PROCESS_ID`.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple

from llm_jax.command_line import place as places
from llm_jax.files import replacing
from llm_jax.files.json_files import parse_json

POLL_SECONDS = 0.3
RENEW_SECONDS = 5.0
SILENT_SECONDS = 100.0  # a process that is silent for so long counts as dead
START_SECONDS = 600.0  # until another process has started


class OtherProcessError(RuntimeError):
    """Another process failed, died, or ended without its share."""


class Place(NamedTuple):
    """Which process this is, and how many there are."""

    process: int = 0
    processes: int = 1

    @property
    def is_first(self) -> bool:
        return self.process == 0


def here(environment: MutableMapping[str, str]) -> Place:
    """The place of this process. Of a node's GPUs, it leaves those of the node's other processes to them.

    Raises:
        ValueError: the variables contradict each other.
    """
    task = places.here(environment)
    if task is not None:
        visible = places.visible_gpus(environment)
        if (own := places.local_gpus(task, visible)) is not None:
            told = [name for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(told[number] if told else str(number) for number in own)
        return Place(task.process, task.processes)
    count, number = environment.get("JAX_NUM_PROCESSES", "1"), environment.get("JAX_PROCESS_ID", "0")
    if not all(value.isascii() and value.isdigit() for value in (count, number)) or int(number) >= max(1, int(count)):
        raise ValueError(
            f"JAX_NUM_PROCESSES={count} and JAX_PROCESS_ID={number} say which process this is: give a number from 0 "
            "below the number of processes, or unset both to work alone"
        )
    if int(count) > 1 and "JAX_PROCESS_ID" not in environment:
        raise ValueError(f"JAX_NUM_PROCESSES is {count}, but JAX_PROCESS_ID, from 0 to {int(count) - 1}, is not set")
    return Place(int(number), max(1, int(count)))


class Others:
    """This process's note for the others, and theirs. With one process, nothing is written."""

    def __init__(self, folder: Path, place: Place) -> None:
        self._folder, self._place = folder, place
        self._state: dict[str, Any] = {"state": "working"}
        self._since: float | None = None  # this process's first note, by the file server's clock
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Others":
        if self._place.processes > 1:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._write()
            self._since = self._file(self._place.process).stat().st_mtime
            self._thread = threading.Thread(target=self._renew, name="evaluation's note", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join()
        if self._folder.is_dir():  # otherwise the first process has finished and removed it
            message = str(error) or kind.__name__ if kind else ""
            self._state = {"state": "failed", "message": message} if kind else {"state": "done"}
            with contextlib.suppress(OSError):
                self._write()

    def wait(self, is_complete: Callable[[], bool], what: str) -> None:
        """Returns when `is_complete()`, which is asked now and then.

        Raises:
            OtherProcessError: another process failed, died, or ended without its share.
        """
        started = time.monotonic()
        while not is_complete():
            unfinished = [number for number in range(self._place.processes) if not self._has_ended(number, started)]
            if unfinished == [self._place.process] and not is_complete():
                raise OtherProcessError(
                    f"the other processes ended without their share of {what}: start all with the same command line"
                )
            time.sleep(POLL_SECONDS)

    def all_done(self) -> bool:
        """Whether every other process has come to its end."""
        mine = self._place.process
        return all(
            self._note(number)[0].get("state") == "done" for number in range(self._place.processes) if number != mine
        )

    def _has_ended(self, number: int, started: float) -> bool:
        """Raises OtherProcessError if the process failed or is dead."""
        if number == self._place.process:
            return False
        note, age = self._note(number)
        if note.get("state") == "failed":
            raise OtherProcessError(f"process {number} failed: {note.get('message')}")
        waited = time.monotonic() - started
        limit = SILENT_SECONDS if note else START_SECONDS
        if note.get("state") != "done" and min(age, waited) > limit:
            what = "has not been heard of" if note else "has not started"
            raise OtherProcessError(
                f"process {number} {what} for {limit:.0f} s: start the same command again, which goes on with all "
                "answers so far"
            )
        return note.get("state") == "done"

    def _note(self, number: int) -> tuple[dict[str, Any], float]:
        """A process's note and its age in seconds by the file server's clock; {} before the process has started."""
        try:
            os.listdir(self._folder)  # NFS asks the server again for the files of a folder that was listed
            path = self._file(number)
            changed, now = path.stat().st_mtime, self._file(self._place.process).stat().st_mtime
            note = parse_json(path.read_bytes(), "", kind=dict)
        except (OSError, ValueError):
            return {}, float("inf")
        # A note from before this start is that of a process that was killed.
        return (note, now - changed) if changed >= (self._since or 0) - RENEW_SECONDS else ({}, float("inf"))

    def _file(self, number: int) -> Path:
        return self._folder / f"{number}.note"

    def _write(self) -> None:
        with replacing(self._file(self._place.process)) as file:
            file.write(json.dumps(self._state).encode())

    def _renew(self) -> None:
        while not self._stop.wait(RENEW_SECONDS):
            with contextlib.suppress(OSError):
                self._write()
