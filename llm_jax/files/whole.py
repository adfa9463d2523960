"""Writes a file or a folder completely or not at all; the whole project writes through this module.

A process may be killed at any instant, and a disk may be full. A half-written file must not be mistaken for a finished
one. So everything is written under a temporary name, flushed to the disk, and renamed: on POSIX, a rename within one
file system is atomic. A killed process leaves at most a `.tmp` file, which nothing reads. Logs, which grow line by
line, are the exception: see `json_files.append_line`.
"""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from llm_jax.files.faults import naming


@contextmanager
def replacing(path: Path, scratch: Path | None = None) -> Iterator[BinaryIO]:
    """Yields a file to write. After the block it is renamed to `path`, and replaces an older file there.

    If the block raises, nothing is left.

    Args:
        path: final name.
        scratch: folder for the temporary file, on the same file system. Default: the folder of `path`.

    Raises:
        FileFault: the disk is full or the folder cannot be written; an OSError that names `path`.
    """
    with replacing_path(path, scratch) as temporary, temporary.open("wb") as file:
        yield file


@contextmanager
def replacing_path(path: Path, scratch: Path | None = None) -> Iterator[Path]:
    """As `replacing`, for a library that opens the file itself: yields the temporary name, which has another suffix."""
    # Host and process id, because two processes may write the same file: a run, and a worker of a run that was killed.
    temporary = (scratch or path.parent) / f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp"
    with naming(path, alias=temporary):
        try:
            yield temporary
            _flush(temporary)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write(path: Path, content: str | bytes) -> None:
    """Writes text (as UTF-8) or bytes to a file, completely or not at all."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty folder to fill, which is renamed to `folder` after the block. An older folder is removed last.

    At every instant the old or the new folder is complete. If the block raises, the new one is removed.
    """
    scratch = _beside(folder, "partial")
    with naming(folder, alias=scratch):
        try:
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir(parents=True)
            yield scratch
            exchange(scratch, folder)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise


def exchange(scratch: Path, folder: Path) -> None:
    """Renames `scratch` to `folder`, and removes what was there last.

    Two renames, because a folder that is not empty cannot be replaced by one.
    """
    older = _beside(folder, "older")
    if not folder.exists():
        scratch.rename(folder)
        return
    shutil.rmtree(older, ignore_errors=True)
    folder.rename(older)
    try:
        scratch.rename(folder)
    except BaseException:
        older.rename(folder)
        raise
    shutil.rmtree(older)


def _beside(folder: Path, what: str) -> Path:
    # Names of runs, exports and checkpoints never begin with a dot. Host and process id distinguish two writers.
    return folder.with_name(f".{folder.name}.{what}.{socket.gethostname()}.{os.getpid()}")


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
