"""Ctrl-C between two pieces of an answer, and not in the middle of one.

XLA does not survive a KeyboardInterrupt while it compiles: the process goes on, and crashes at its end. Elsewhere JAX
may swallow one.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from types import FrameType
from typing import TypeVar

T = TypeVar("T")


def until_interrupted(pieces: Generator[T, None, None], ended: Callable[[], None] = lambda: None) -> Iterator[T]:
    """The pieces, up to the one during which Ctrl-C was pressed: then `ended` is called.

    Pressed twice it raises KeyboardInterrupt at once.
    """
    with contextlib.closing(pieces), _noted() as is_pressed:
        for piece in pieces:
            yield piece
            if is_pressed():
                ended()
                return


@contextlib.contextmanager
def postponed() -> Iterator[None]:
    """Raises KeyboardInterrupt at its end if Ctrl-C was pressed meanwhile. Pressed twice, at once."""
    with _noted() as is_pressed:
        yield
    if is_pressed():
        raise KeyboardInterrupt


@contextlib.contextmanager
def _noted() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C has been pressed."""
    pressed = False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    if threading.current_thread() is not threading.main_thread():  # which alone may set a handler, and gets the signals
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
