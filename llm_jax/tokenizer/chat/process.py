"""The process that runs chat templates. It starts with the first request and lives as long as this one.

A request that takes too long ends the process, and the next request starts another.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from llm_jax.tokenizer.chat import worker

WORKER = Path(worker.__file__)


class Worker:
    """One process, asked by any thread, one request at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The worker's answer: `text` and `spans`, or `error` and `kind`."""
        line = json.dumps(request).encode() + b"\n"
        with self._lock:
            process = self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(line)
                process.stdin.flush()
                answer = process.stdout.readline()
            except BrokenPipeError:
                answer = b""
            except BaseException:  # Ctrl-C: nobody reads the answer that would still come
                self._end()
                raise
            if not answer.endswith(b"\n"):
                return self._failure()
        return json.loads(answer)

    def close(self) -> None:
        with self._lock:
            self._end()

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._owner != os.getpid():  # a forked process gets one of its own
            command = [sys.executable, "-P", str(WORKER)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            self._owner = os.getpid()
        return self._process

    def _failure(self) -> dict[str, Any]:
        status = self._end()
        if status == -signal.SIGPROF:
            return {"error": f"it computes for more than {worker.SECONDS:.0f} seconds", "kind": "limit"}
        return {"error": f"it ended its process (status {status})", "kind": "limit"}

    def _end(self) -> int | None:
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return None
        if process.poll() is None:
            try:
                process.wait(0.2)
            except subprocess.TimeoutExpired:
                process.kill()
        for pipe in (process.stdin, process.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except BrokenPipeError:
                pass
        return process.wait()


WORKER_PROCESS = Worker()
atexit.register(WORKER_PROCESS.close)
