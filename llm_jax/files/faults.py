"""An error of the operating system as one line for the user: the path, the cause, the cure.

A full disk reaches a command in many forms: as an OSError with or without a path, inside the error of a library
(orbax, tensorstore, safetensors) that kept only its text, or as the cause of another error. `found_in` finds it in all
of these. Only the code that writes knows what is safe: it states it with `safe`, and the front door prints it.
"""

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterator

_SPACE = "free some space, or choose another folder, and run the same command again"
_ALLOWED = "choose a folder that you may write to"
_FILES = "raise the limit (`ulimit -n 4096`) and run the same command again"
_DEVICE = "check the disk or the file server (`dmesg` says more), then run the same command again"

CURES = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: "raise the limit on the size of a file (`ulimit -f`), or choose another file system",
    errno.EACCES: _ALLOWED,
    errno.EPERM: _ALLOWED,
    errno.EROFS: _ALLOWED,
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.ENOMEM: "free some memory and run the same command again",
    errno.EIO: _DEVICE,
    errno.ENXIO: _DEVICE,
    errno.ENODEV: _DEVICE,
    errno.ESTALE: _DEVICE,
    errno.ETIMEDOUT: _DEVICE,
    errno.ENOLCK: "the file system does not support locks: choose a folder on another one",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "its links lead in a circle: name the file itself",
    errno.EISDIR: "it is a folder: name a file",
    errno.ENOTDIR: "a part of the path is a file: name a folder",
    errno.EEXIST: "something of that name exists already: choose another name, or remove it",
    errno.ENOTEMPTY: "something of that name exists already: choose another name, or remove it",
    errno.ENOENT: "check the name",
}
# Errors that stop a command. `found_in` also looks for them among the causes of another error.
SERIOUS = frozenset(
    getattr(errno, name)
    for name in (
        "ENOSPC",
        "EDQUOT",
        "EFBIG",
        "EROFS",
        "EMFILE",
        "ENFILE",
        "EIO",
        "ENXIO",
        "ENODEV",
        "ESTALE",
    )
)
_NUMBER = re.compile(r"\bos error:? (\d+)", re.IGNORECASE)  # the form in tensorstore and in libraries in Rust
_PATH = re.compile(r"""["'](/[^"'\n]+)["']""")
UNKNOWN = "a file (the error does not say which)"


class FileFault(OSError):
    """An error of the operating system with the path that it concerns; `str` gives the line for the user."""

    errno: int  # pyright: ignore[reportIncompatibleVariableOverride]  # never None here

    def __init__(self, number: int, path: str, doing: str = "write") -> None:
        super().__init__(number, os.strerror(number), path)
        self.doing = doing

    def __str__(self) -> str:
        what = f"cannot {self.doing} {self.filename}: {self.strerror}"
        return f"{what}; {CURES[self.errno]}" if self.errno in CURES else what


def found_in(error: BaseException) -> FileFault | None:
    """The operating system's error that `error` is, wraps or was raised from, with its path if it is known.

    None if there is none. A cause of the error counts only if it is SERIOUS. A missing file, for example, may be the
    cause of an error with a better message.
    """
    if (fault := _of(error, frozenset(CURES))) is not None:
        return fault
    for one in _chain(error):
        if (fault := _of(one, SERIOUS)) is not None:
            return fault
    return None


def describe(error: BaseException) -> str:
    """The line for the user: path, problem and cure of a fault, or else the error's own message."""
    message, fault = str(error) or type(error).__name__, found_in(error)
    # An OSError without a number was raised by this project, with a complete message.
    is_ours = isinstance(error, OSError) and error.errno is None
    return message if fault is None or is_ours else str(fault)


@contextlib.contextmanager
def naming(
    path: str | os.PathLike[str], doing: str = "write", alias: str | os.PathLike[str] | None = None
) -> Iterator[None]:
    """Adds `path` to an OSError of the block that has no path, or whose path is `alias`, the temporary name."""
    try:
        yield
    except OSError as error:
        if error.errno not in CURES:
            raise
        name, known = str(error.filename), alias is not None and os.fspath(alias)
        if error.filename is None:
            raise FileFault(error.errno, os.fspath(path), doing) from error
        if known and name.startswith(known):  # the temporary file itself, or one in the temporary folder
            raise FileFault(error.errno, os.fspath(path) + name[len(known) :], doing) from error
        raise


@contextlib.contextmanager
def safe(what: str | Callable[[], str]) -> Iterator[None]:
    """Adds a note that says what is safe to an error of the operating system that leaves the block.

    The front door prints the note. Of nested blocks the innermost adds it, because it knows most.
    """
    try:
        yield
    except Exception as error:
        if not getattr(error, "__notes__", None) and found_in(error) is not None:
            with contextlib.suppress(OSError):  # finding out what is safe may fail for the same reason
                error.add_note(what if isinstance(what, str) else what())
        raise


def _of(error: BaseException, numbers: frozenset[int]) -> FileFault | None:
    """The fault that `error` itself is, without its causes, if its number is one of `numbers`."""
    if isinstance(error, FileFault):
        return error if error.errno in numbers else None
    if isinstance(error, OSError) and error.errno is not None:
        if error.errno not in numbers:
            return None
        name = error.filename2 or error.filename
        path = os.fsdecode(name) if isinstance(name, (str, bytes)) else UNKNOWN
        return FileFault(error.errno, path, _doing(error.errno, path))
    text = str(error)
    if match := _NUMBER.search(text):
        code = int(match[1])
    else:
        code = next((one for one in SERIOUS if os.strerror(one) in text), 0)
    if code not in numbers:
        return None
    path = _PATH.search(text)
    return FileFault(code, path[1] if path else UNKNOWN)


def _doing(number: int, path: str) -> str:
    """The operation that failed, inferred from error number and path: open, read or write."""
    if number in (errno.EMFILE, errno.ENFILE, errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ELOOP):
        return "open"
    if number in (errno.EACCES, errno.EPERM) and os.path.exists(path) and not os.access(path, os.R_OK):
        return "read"
    return "write"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and, recursively, all errors that it was raised from or that it groups."""
    seen: set[int] = set()
    todo = [error]
    while todo:
        one = todo.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        todo += [other for other in (one.__cause__, one.__context__) if other is not None]
        todo += list(getattr(one, "exceptions", ()))  # of a group
