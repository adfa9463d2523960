"""Ctrl-C takes effect between two pieces of an answer, never inside of one.

XLA does not survive a KeyboardInterrupt while it compiles: the process continues, and crashes at its end. Elsewhere JAX
may swallow the exception.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from types import FrameType
from typing import TypeVar

T = TypeVar("T")


class Interrupted(Exception):
    """Ctrl-C was pressed. Raised in a generator of pieces, which may catch it to give one last piece."""


def until_interrupted(pieces: Generator[T, None, None], ended: Callable[[], None] = lambda: None) -> Iterator[T]:
    """The pieces, up to the one during which Ctrl-C was pressed, and the last one that `Interrupted` brings.

    Calls `ended` if Ctrl-C was pressed. A second press raises KeyboardInterrupt at once.
    """
    with contextlib.closing(pieces), _recorded() as is_pressed:
        for piece in pieces:
            yield piece
            if is_pressed():
                ended()
                with contextlib.suppress(Interrupted, StopIteration):
                    yield pieces.throw(Interrupted())
                return


@contextlib.contextmanager
def postponed() -> Iterator[None]:
    """Raises KeyboardInterrupt at its end if Ctrl-C was pressed meanwhile; at a second press at once."""
    with _recorded() as is_pressed:
        yield
    if is_pressed():
        raise KeyboardInterrupt


@contextlib.contextmanager
def _recorded() -> Iterator[Callable[[], bool]]:
    """While it is open, the first Ctrl-C is recorded, not raised; gives a function that says whether there was one."""
    pressed = False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    if threading.current_thread() is not threading.main_thread():  # Python lets only the main thread set a handler
        yield lambda: False
        return
    # Presses are counted here alone: the front door's thread would read one later and count it as its own.
    descriptor = signal.set_wakeup_fd(-1)
    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
        signal.set_wakeup_fd(descriptor)
