"""Ctrl-C (SIGINT): one press ends a command in good order, a second one at once.

Python's own way is an exception at any instant, and in a program that uses JAX it is not enough. JAX's callback of the
garbage collector and destructors swallow it, and raised inside XLA's compiler it breaks the process. So while `watched`
is open

- the exception is raised only where no frame of JAX is on the stack, and again until the front door has it;
- a command with steps, which wants to save, opens `told` instead: the press sets a flag that it polls, and nothing is
  raised;
- a thread, which no long call into C++ holds up, sees every press: the second one ends the process at once.

A process that was started with SIGINT ignored (`nohup`, a background job of a script) leaves it so.
"""

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
RETRY_SECONDS = 0.05
RETRY = signal.SIGURG  # ignored by default, so nobody is hurt by one too many
UNSAFE = ("jax", "jaxlib")  # packages that an exception must not pass through

_listener: Callable[[], None] | None = None
_presses = 0


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Ctrl-C as this module has it, until the block ends. Does nothing in a thread, or where SIGINT is ignored."""
    global _presses
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None, _press):
        yield
        return
    _presses = 0
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.signal(signal.SIGINT, _press), signal.signal(RETRY, _again)
    descriptor = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    done = threading.Event()
    thread = threading.Thread(target=_watch, args=(reader, done), name="Ctrl-C", daemon=True)
    thread.start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        done.set()
        signal.set_wakeup_fd(descriptor)
        signal.signal(signal.SIGINT, before[0])
        signal.signal(RETRY, before[1])
        os.write(writer, b"\0")  # wakes the thread
        thread.join()
        os.close(reader)
        os.close(writer)


@contextlib.contextmanager
def told(listener: Callable[[], None]) -> Iterator[None]:
    """While it is open, Ctrl-C calls `listener` and raises nothing. Where nobody watches, it is opened here."""
    global _listener
    with watched():
        before, _listener = _listener, listener
        try:
            yield
        finally:
            heard()
            _listener = before


def heard() -> None:
    """The press has had its effect: the next one is a first one again."""
    global _presses
    _presses = 0


def check() -> None:
    """For long work inside of `told`, before there is anything to save: raises KeyboardInterrupt after a press."""
    if _presses and threading.current_thread() is threading.main_thread():
        raise KeyboardInterrupt


def leave_at_once() -> None:
    """Ends this process, whatever it is doing."""
    if os.isatty(2):
        os.write(2, b"\x1b[?25h")  # a progress bar has hidden the cursor
    os.write(2, b"interrupted twice: left at once\n")
    os._exit(EXIT_INTERRUPTED)


def _press(number: int, frame: FrameType | None) -> None:
    if _listener is not None:
        _listener()
    elif not _is_unsafe(frame):
        raise KeyboardInterrupt


def _again(number: int, frame: FrameType | None) -> None:
    """The exception once more, if it was swallowed, or could not be raised."""
    if _presses and _listener is None and not _is_under_way() and not _is_unsafe(frame):
        raise KeyboardInterrupt


def _is_unsafe(frame: FrameType | None) -> bool:
    while frame is not None:
        if str(frame.f_globals.get("__name__")).partition(".")[0] in UNSAFE:
            return True
        frame = frame.f_back
    return False


def _is_under_way() -> bool:
    """Whether the exception has been raised, and its `finally` and `with` blocks are at work."""
    error = sys.exception()
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False


def _watch(reader: int, done: threading.Event) -> None:
    """Counts presses. After the first, asks the main thread every now and then whether it has heard of it."""
    global _presses
    main = threading.main_thread().ident
    assert main is not None
    while not done.is_set():
        ready, _, _ = select.select([reader], [], [], RETRY_SECONDS if _presses else None)
        if ready:
            arrived = os.read(reader, 64).count(signal.SIGINT)
            # Whoever has put a handler of his own in place (a server, `serve chat`) counts for himself.
            if arrived and signal.getsignal(signal.SIGINT) is _press:
                _presses += arrived
                if _presses > 1:
                    leave_at_once()
        elif _presses and _listener is None and not done.is_set():
            signal.pthread_kill(main, RETRY)


def _forget_in_child() -> None:
    """A forked child shares the pipe: a press that reaches both would be counted twice."""
    if signal.getsignal(signal.SIGINT) is _press:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(RETRY, signal.SIG_DFL)


os.register_at_fork(after_in_child=_forget_in_child)
