"""How far an evaluation is, and how long it will take: a line on stderr, renewed on a terminal, repeated in a log file.

Requests are computed from the longest to the shortest, so the time left follows from the work that is left, not from
the number of requests.
"""

import sys
import time
from collections.abc import Callable
from typing import TextIO

TERMINAL_SECONDS = 0.5  # between two lines
LOG_SECONDS = 30.0


class Progress:
    """Counts requests and their work."""

    def __init__(
        self,
        name: str,
        requests: int,
        work: float,
        found: int = 0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`requests` and `work` are this process's, to be computed now; `found` answers are there already."""
        self._name, self._requests, self._work, self._found = name, requests, work, found
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._every = TERMINAL_SECONDS if self._is_terminal else LOG_SECONDS
        self._clock, self._started = clock, clock()
        self._shown, self._done, self._done_work = self._started, 0, 0.0
        self._is_open = False

    def add(self, requests: int, work: float) -> None:
        """Counts requests that were answered, and shows a line if it is time."""
        self._done, self._done_work = self._done + requests, self._done_work + work
        if (now := self._clock()) - self._shown >= self._every:
            self._shown = now
            self._show(self.line())

    def line(self) -> str:
        """The state in words.

        >>> Progress("tiny, log-likelihoods", 100, 100.0, clock=iter([0.0, 10.0]).__next__).line()
        'tiny, log-likelihoods: 0 of 100'
        """
        found, elapsed = self._found, self._clock() - self._started
        text = f"{self._name}: {found + self._done:,} of {found + self._requests:,}"
        if not self._done_work or elapsed <= 0:
            return text
        left = elapsed * (self._work - self._done_work) / self._done_work
        share, speed = self._done_work / self._work, self._done / elapsed
        return f"{text} ({share:.0%} of the work), {speed:,.1f}/s, {duration(left)} left"

    def close(self) -> None:
        """Ends the line on a terminal."""
        if self._is_open:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._is_open = False

    def _show(self, line: str) -> None:
        self._is_open = self._is_terminal
        self._stream.write(f"\r{line}\x1b[K" if self._is_terminal else f"{line}\n")
        self._stream.flush()


def duration(seconds: float) -> str:
    """A time to be read.

    >>> [duration(seconds) for seconds in (8.4, 340, 7700)]
    ['8 s', '5 min 40 s', '2 h 8 min']
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60 // 1:.0f} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"
