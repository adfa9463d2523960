"""Ctrl-C (SIGINT): the first press ends a command cleanly, the second ends the process at once.

Python raises KeyboardInterrupt at any instant. With JAX that does not work: JAX's garbage-collector callback and its
destructors swallow the exception, and inside XLA's compiler it breaks the process. So while `watched` is open

- the exception is raised only where no frame of JAX is on the stack, and again until the front door catches it;
- a command that must save between steps opens `told` instead: a press calls its listener, and nothing is raised;
- code that starts processes opens `held`: a press takes effect when the processes have started;
- a thread sees every press, even during a long call into C++, and ends the process at the second.

A process that was started with SIGINT ignored (`nohup`, a background job of a script) still ignores it.
"""

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

EXIT_INTERRUPTED = 130  # 128 + SIGINT, as in shells
RETRY_SECONDS = 0.05
RETRY = signal.SIGURG  # ignored by default, so an extra one does no harm
UNSAFE = ("jax", "jaxlib")  # packages that an exception must not pass through


class _State:
    """State shared by the signal handler, the thread and the main program."""

    listener: Callable[[], None] | None = None
    presses = 0  # since the last one that was handled


_state = _State()


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Handles Ctrl-C as described above until the block ends. Does nothing in a thread, or where SIGINT is ignored."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None, _press):
        yield
        return
    _state.presses = 0
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
    """Until the block ends, Ctrl-C calls `listener` and raises nothing. Opens `watched` if it is not open."""
    with watched():
        before, _state.listener = _state.listener, listener
        try:
            yield
        finally:
            heard()
            _state.listener = before


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Postpones Ctrl-C until the block ends.

    For starting processes with multiprocessing, which sends a child its work through a pipe: a child that gets only a
    part of it prints a traceback. Masking SIGINT is not enough, because Python runs the handler in the main thread,
    whichever thread receives the signal. SIGINT is masked nevertheless, because children inherit the mask: Ctrl-C in a
    terminal reaches every process, but only the parent must act on it.
    """
    pressed: list[bool] = []
    is_main = threading.current_thread() is threading.main_thread()
    with watched():
        before = _state.listener
        if is_main:
            _state.listener = lambda: pressed.append(True)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            if is_main:
                _state.listener = before
            if pressed:
                _press(signal.SIGINT, sys._getframe())


def heard() -> None:
    """Resets the count after a press was handled: the next press is a first one again."""
    _state.presses = 0


def check() -> None:
    """For long work inside `told` with nothing to save yet: raises KeyboardInterrupt if Ctrl-C was pressed."""
    if _state.presses and threading.current_thread() is threading.main_thread():
        raise KeyboardInterrupt


def leave_at_once() -> None:
    """Ends this process and the workers that it started, whatever they are doing."""
    if os.isatty(2):
        os.write(2, b"\x1b[?25h")  # a progress bar has hidden the cursor
    os.write(2, b"interrupted twice: ended at once\n")
    with contextlib.suppress(Exception):
        if "multiprocessing" in sys.modules:
            from llm_jax.command_line import children

            children.end_all()
    os._exit(EXIT_INTERRUPTED)


def _press(number: int, frame: FrameType | None) -> None:
    if _state.listener is not None:
        _state.listener()
    elif not _is_unsafe(frame):
        raise KeyboardInterrupt


def _again(number: int, frame: FrameType | None) -> None:
    """Raises the exception again if JAX swallowed it, or if it could not be raised before."""
    if _state.presses and _state.listener is None and not _is_under_way() and not _is_unsafe(frame):
        raise KeyboardInterrupt


def _is_unsafe(frame: FrameType | None) -> bool:
    while frame is not None:
        if str(frame.f_globals.get("__name__")).partition(".")[0] in UNSAFE:
            return True
        frame = frame.f_back
    return False


def _is_under_way() -> bool:
    """Whether KeyboardInterrupt was raised and `finally` or `with` blocks are handling it."""
    error = sys.exception()
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False


def _watch(reader: int, done: threading.Event) -> None:
    """Counts presses. After the first, sends RETRY to the main thread until the press was handled."""
    main = threading.main_thread().ident
    assert main is not None
    while not done.is_set():
        ready, _, _ = select.select([reader], [], [], RETRY_SECONDS if _state.presses else None)
        if ready:
            arrived = os.read(reader, 64).count(signal.SIGINT)
            # A command with its own handler (a server, `serve chat`) counts presses itself.
            if arrived and signal.getsignal(signal.SIGINT) is _press:
                _state.presses += arrived
                if _state.presses > 1:
                    leave_at_once()
        elif _state.presses and _state.listener is None and not done.is_set():
            signal.pthread_kill(main, RETRY)


def _forget_in_child() -> None:
    """Removes the handlers in a forked child. It shares the pipe, so a press that reaches both would count twice."""
    if signal.getsignal(signal.SIGINT) is _press:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(RETRY, signal.SIG_DFL)


os.register_at_fork(after_in_child=_forget_in_child)
