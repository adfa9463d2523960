"""The time that a run has taken so far, without the pauses between its resumes."""

import time


class Clock:
    """Counts seconds from its creation. `lap` adds the time since the last lap; `restart` drops that time."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds  # up to the last lap
        self.restart()

    def restart(self) -> None:
        """Starts a new lap without counting the time since the last one."""
        self._last = time.monotonic()

    def lap(self) -> float:
        """Adds the seconds since the last lap to `seconds`, and returns them."""
        now = time.monotonic()
        elapsed, self._last = now - self._last, now
        self.seconds += elapsed
        return elapsed
