"""Makes Ctrl-C take effect between two pieces of an answer, and never while one is computed.

XLA does not survive a KeyboardInterrupt while it compiles: the process continues and crashes when it ends. At other
places JAX may swallow the exception.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from types import FrameType
from typing import TypeVar

T = TypeVar("T")


class Interrupted(Exception):
    """Ctrl-C was pressed. It is raised in a generator of pieces, which may catch it to yield one last piece."""


def until_interrupted(pieces: Generator[T, None, None], ended: Callable[[], None] = lambda: None) -> Iterator[T]:
    """The pieces up to the one during which Ctrl-C was pressed, then the last one that the generator yields.

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
    """Postpones Ctrl-C to the end of the block, where it raises KeyboardInterrupt. A second press raises it at once."""
    with _recorded() as is_pressed:
        yield
    if is_pressed():
        raise KeyboardInterrupt


@contextlib.contextmanager
def _recorded() -> Iterator[Callable[[], bool]]:
    """Records the first Ctrl-C in the block instead of raising it. Yields a function that tells whether it came."""
    pressed = False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    if threading.current_thread() is not threading.main_thread():  # Python lets only the main thread set a handler
        yield lambda: False
        return
    # Presses are counted here only; otherwise the front door's thread would count the same press again.
    descriptor = signal.set_wakeup_fd(-1)
    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
        signal.set_wakeup_fd(descriptor)
