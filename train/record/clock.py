"""The time that a run has taken so far, pauses between its resumes left out."""

import time


class Clock:
    """Counts seconds from its creation or the last `restart`; `lap` returns the seconds since the lap before."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds  # up to the last lap
        self.restart()

    def restart(self) -> None:
        """Does not count the time since the last lap."""
        self._last = time.monotonic()

    def lap(self) -> float:
        """Seconds since the last lap, which now count."""
        now = time.monotonic()
        elapsed, self._last = now - self._last, now
        self.seconds += elapsed
        return elapsed
