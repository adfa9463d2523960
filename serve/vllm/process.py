"""A vLLM server as a child process: started, waited for, told to end.

It runs in a session of its own: Ctrl-C then reaches it once, through this process, and all processes that it has
started can be ended with it. If this process is killed, the kernel ends vLLM (`inside/vllm_main.py`).
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

from llm_jax import backend
from serve.door import guard, listening, ready_message
from serve.vllm.environment import Environment

GRACE = 20.0  # seconds in which vLLM may end after the time that requests get


class Server:
    """`vllm serve` with the guard in front."""

    def __init__(
        self,
        environment: Environment,
        arguments: list[str],
        name: str,
        host: str,
        port: int,
        max_requests: int,
        callers: guard.Callers | None = None,
        request: Callable[[], tuple[str, int]] = lambda: (ready_message.PROMPT, ready_message.MOST_TOKENS),
    ):
        """A server that is not started yet.

        Args:
            environment: the Python that has vLLM.
            arguments: those of `vllm`.
            name: the model's name in requests.
            host: address to listen on.
            port: TCP port.
            max_requests: requests answered or waiting at once.
            callers: whose requests pass; None: those of this machine.
            request: prompt and number of new tokens of the example that is printed; called when the server is ready.
        """
        self._environment, self._arguments = environment, arguments
        self.name, self.host, self.port, self._max_requests = name, host, port, max_requests
        self._callers, self._request = callers or guard.Callers.of(host), request
        self.log = backend.cache_folder() / "vllm" / f"serve-{port}.log"
        self._closed = self.log.with_suffix(".closed")
        self._child: subprocess.Popen[bytes] | None = None
        self._asked_to_stop = False

    @property
    def title(self) -> str:
        return f"vLLM {self._environment.version} serves {self._arguments[1]} as {self.name!r}"

    def run(self, key: str, key_source: str, ready_timeout: float, shutdown_timeout: float) -> int:
        """Starts, waits until it answers, prints how to call it, serves until a signal. Raises as `running` does."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._ask_to_stop)
        with self.running(key, ready_timeout, shutdown_timeout):
            if not self._asked_to_stop:
                called = ready_message.how_to_call(self.host, self.port, self.name, key_source, *self._request())
                print(called, flush=True)
            while self._child and self._child.poll() is None and not self._asked_to_stop:
                time.sleep(0.2)
        if not self._asked_to_stop:
            raise RuntimeError(f"vLLM has ended without a signal to this process:\n{self.last_words()}")
        print("vLLM has ended", flush=True)
        return 0

    @contextlib.contextmanager
    def running(self, key: str, ready_timeout: float, shutdown_timeout: float) -> Iterator[None]:
        """A context in which the server answers, or has been asked to stop; afterwards it is gone.

        Raises OSError if the port is taken, RuntimeError with vLLM's last words if it does not come up.
        """
        self._start(key)
        try:
            self._wait_until_ready(ready_timeout)
            yield
        finally:
            self._stop(shutdown_timeout)

    def _start(self, key: str) -> None:
        listening.bound(self.host, self.port).close()
        variables = (
            self._environment.variables()
            | self._callers.variables()
            | {
                guard.KEY_VARIABLE: key,
                guard.REQUESTS_VARIABLE: str(self._max_requests),
                guard.CLOSED_VARIABLE: str(self._closed),
                "VLLM_MAX_N_SEQUENCES": str(guard.MOST_SEQUENCES),
                "LLM_JAX_END_WITH_PARENT": "1",
            }
        )
        if "--distributed-executor-backend" not in self._arguments:
            variables.setdefault("VLLM_HOST_IP", "127.0.0.1")  # its workers' sockets stay on this machine
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._closed.unlink(missing_ok=True)
        with os.fdopen(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as log:
            self._child = subprocess.Popen(
                self._environment.command(*self._arguments),
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wait_until_ready(self, timeout: float) -> None:
        """Returns when it answers, or when a signal has come."""
        from rich.console import Console

        assert self._child
        started = time.monotonic()
        with Console(stderr=True).status("vLLM is loading") as status:
            while not self._asked_to_stop:
                elapsed = time.monotonic() - started
                status.update(f"vLLM is loading, {elapsed:.0f} s · {self.last_words(1)[:90]}")
                if (code := self._child.poll()) is not None:
                    raise RuntimeError(f"vLLM ended with status {code} before it was ready:\n{self.last_words()}")
                if elapsed > timeout:
                    raise RuntimeError(
                        f"vLLM was not ready after {timeout:.0f} s (--ready-timeout):\n{self.last_words()}"
                    )
                if listening.answers(self.host, self.port):
                    return
                time.sleep(0.5)

    def _stop(self, timeout: float) -> None:
        """Closes the guard, sends vLLM SIGTERM, waits for requests and workers, then kills the whole session."""
        child = self._child
        assert child
        if child.poll() is None:
            self._closed.touch()
            child.terminate()
            try:
                child.wait(timeout + GRACE)
            except subprocess.TimeoutExpired:
                print(f"vLLM did not end within {timeout + GRACE:.0f} s and is killed", flush=True)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)  # whatever vLLM has left running, itself included
        child.wait()
        self._closed.unlink(missing_ok=True)

    def last_words(self, lines: int = 20) -> str:
        """The end of the log."""
        if not self.log.is_file():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 8192))
            return "\n".join(log.read().decode(errors="replace").strip().splitlines()[-lines:])

    def _ask_to_stop(self, number: int, frame: object) -> None:
        self._asked_to_stop = True
