"""Ctrl-C between two pieces of an answer, and not in the middle of one.

XLA does not survive a KeyboardInterrupt while it compiles: the process goes on, and crashes at its end.
"""

import contextlib
import signal
import threading
from collections.abc import Generator, Iterator
from types import FrameType
from typing import TypeVar

T = TypeVar("T")


def until_interrupted(pieces: Generator[T, None, None]) -> Iterator[T]:
    """The pieces, up to the one during which Ctrl-C was pressed. Pressed twice it raises KeyboardInterrupt at once."""
    is_pressed = False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal is_pressed
        if is_pressed:
            raise KeyboardInterrupt
        is_pressed = True

    with contextlib.closing(pieces), _handler(press):
        for piece in pieces:
            yield piece
            if is_pressed:
                return


@contextlib.contextmanager
def _handler(press) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # which alone may set one, and gets the signals
        yield
        return
    before = signal.signal(signal.SIGINT, press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
