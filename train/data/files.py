"""Files that are either absent or whole.

A process may die at any instant. What it was writing must then not be mistaken for a finished file, so everything is
written under a temporary name, flushed to the disk, and renamed: on POSIX file systems a rename within one file system
happens entirely or not at all. A dead process leaves at worst a stray `.tmp` file, which nobody reads.
"""

import errno
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


@contextmanager
def replacing(path: Path, scratch: Path | None = None) -> Iterator[BinaryIO]:
    """Yields a file to write; after the block it appears under `path`, complete, replacing what was there.

    `scratch` is the folder for the temporary file, on the same file system; by default that of `path`. If the block
    raises, nothing is left. Raises OSError that names `path` when the disk is full or the folder cannot be written.
    """
    # Host and process keep two writers of the same file (a run, and the worker that a dead run left behind) apart.
    temporary = (scratch or path.parent) / f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp"
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _UNWRITABLE:
            raise type(error)(f"cannot write {path}: {error.strerror}; {_UNWRITABLE[error.errno]}") from error
        raise


_UNWRITABLE = {
    errno.ENOSPC: "free some space, or choose another folder, and run the same command again",
    errno.EDQUOT: "free some space, or choose another folder, and run the same command again",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
}


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, atomically; equal values give equal bytes."""
    with replacing(path) as file:
        file.write((json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Reads a JSON file; a ValueError names the file and the place that is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}: not valid JSON ({error}); it was cut short or edited: remove it or make it anew"
        ) from error
