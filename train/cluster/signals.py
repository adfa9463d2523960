"""A request to stop: SIGTERM at SLURM's time limit or at preemption, SIGUSR1 by --signal, Ctrl-C by a person.

The handler only sets a flag. The loop polls it between steps, and so do evaluation and sampling. The run then saves and
exits with `EXIT_SAVED`, and the batch script requeues the job. A second Ctrl-C ends the process at once.
"""

import signal
from types import FrameType

from llm_jax.command_line import interrupts

EXIT_SAVED = 75  # EX_TEMPFAIL of sysexits.h: try again later
EXIT_NOT_FINITE = 3  # the run stopped itself; starting it again would stop at the same place

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class StopRequest:
    """Context manager: while it is open, the signals and Ctrl-C set `name` instead of ending the process."""

    def __init__(self) -> None:
        self.name: str | None = None

    def __enter__(self) -> "StopRequest":
        self._previous = {number: signal.signal(number, self._raise_flag) for number in SIGNALS}
        self._interrupts = interrupts.told(self._interrupt)
        self._interrupts.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._interrupts.__exit__(None, None, None)
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def __bool__(self) -> bool:
        return self.name is not None

    def agreed(self) -> bool:
        """Whether any process of the job was asked to stop. All get the same answer, so all stop at the same step."""
        import jax

        if jax.process_count() == 1:
            return bool(self)
        import numpy as np
        from jax.experimental import multihost_utils

        return bool(multihost_utils.process_allgather(np.array(bool(self))).any())

    def _interrupt(self) -> None:
        self.name = "Ctrl-C"

    def _raise_flag(self, number: int, _: FrameType | None) -> None:
        self.name = signal.Signals(number).name
