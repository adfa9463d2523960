"""A side in a process of its own, called from here.

Each has its own threads and its own memory, all stay loaded, and still they take turns; who waits for his turn stands
still, for idle threads may spin for a while.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

FRESH = multiprocessing.get_context("spawn")  # nothing is inherited but the environment


class Apart:
    """A function of a process of its own. `make` is called there and returns it, with facts that are sent back here.

    Arguments and results travel, so they must be picklable, and `make` too.
    """

    def __init__(self, make: Callable[[], tuple[Callable[..., Any], Any]]):
        self._here, there = FRESH.Pipe()
        self._process = FRESH.Process(target=_serve, args=(there, make), daemon=True)
        self._process.start()
        there.close()
        self.facts = self._answer()

    def __call__(self, *arguments: Any) -> Any:
        self._signal(signal.SIGCONT)
        self._here.send(arguments)
        answer = self._answer()
        self._signal(signal.SIGSTOP)
        return answer

    def end(self) -> None:
        self._signal(signal.SIGCONT)
        self._here.close()
        self._process.join(10)
        self._process.kill()

    def _signal(self, number: signal.Signals) -> None:
        if self._process.is_alive() and self._process.pid:
            os.kill(self._process.pid, number)

    def _answer(self) -> Any:
        try:
            return self._here.recv()
        except EOFError:
            raise RuntimeError("a side's process ended early; its last words are above") from None


def _serve(there: Connection, make: Callable[[], tuple[Callable[..., Any], Any]]) -> None:
    function, facts = make()
    there.send(facts)
    while True:
        try:
            arguments = there.recv()
        except EOFError:
            return
        there.send(function(*arguments))
