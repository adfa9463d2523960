"""Reads a file's text as UTF-8 bytes without a byte order mark, from any position.

A plain UTF-8 file is read directly. Compressed text, and text in UTF-16 or UTF-32, can only be read forwards. Each
process keeps the reader that it used last, so reading pieces in ascending order takes one pass over the file.
"""

import codecs
import io
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from llm_jax.files.content.recognise import Form, recognise
from llm_jax.files.content.unpack import unpacked


class Utf8Reader(AbstractContextManager, Protocol):
    """The methods of a binary file that callers use."""

    def seek(self, position: int, /) -> int: ...

    def read(self, size: int = -1, /) -> bytes: ...


def open_utf8(path: Path, form: Form) -> Utf8Reader:
    """Opens the text of a file, at its first byte. Positions count bytes of UTF-8 after any byte order mark."""
    if not form.is_seekable:
        status = path.stat()
        reader = _forward(path, form, status.st_size, status.st_mtime_ns, status.st_ino)
        reader.seek(0)
        return reader
    if not form.mark:
        return path.open("rb")
    file = _AfterMark(path, form.mark)
    file.seek(0)
    return file


def read_text(path: Path) -> str:
    """The whole text of a small file: decompressed, decoded, without a byte order mark.

    Raises:
        UnicodeDecodeError: it is not in UTF-8, UTF-16 or UTF-32.
        ValueError: it is no text, or damaged; names the file.
        OSError: it cannot be read.
    """
    content = recognise(path)
    if content.kind != "text":
        refusal = content.refusal or f"a table ({content.kind})"
        raise ValueError(f"{path}: {refusal}; expected text in UTF-8")
    with open_utf8(path, content.form) as file:
        file.seek(0)
        return file.read().decode()


class _AfterMark(io.FileIO):
    """A file whose position 0 is after its byte order mark."""

    def __init__(self, path: Path, mark: int):
        super().__init__(path)
        self._mark = mark

    def seek(self, position: int, whence: int = 0, /) -> int:
        return super().seek(position + self._mark if whence == 0 else position, whence) - self._mark


@lru_cache(maxsize=1)
def _forward(path: Path, form: Form, *_stamp: int) -> "_Forward":
    return _Forward(path, form)


class _Forward:
    """Reads forwards; starts again from the beginning to read an earlier position."""

    def __init__(self, path: Path, form: Form):
        self._path, self._form = path, form
        self._begin()

    def _begin(self) -> None:
        self._blocks = _utf8_blocks(self._path, self._form)
        self._block, self._start = b"", 0  # the current block, and the position of its first byte
        self._position = 0

    def __enter__(self) -> "_Forward":
        return self

    def __exit__(self, *_: object) -> None:
        """Keeps the reader open, because the next call may continue from here."""

    def seek(self, position: int, /) -> int:
        self._position = position
        return position

    def read(self, size: int = -1, /) -> bytes:
        if self._position < self._start:
            position = self._position
            self._begin()
            self._position = position
        found: list[bytes] = []
        while size:
            offset = self._position - self._start
            if offset >= len(self._block):
                self._start += len(self._block)
                self._block = self._next_block()
                if not self._block:
                    break
                continue
            found.append(self._block[offset : offset + size if size > 0 else None])
            self._position += len(found[-1])
            size -= len(found[-1]) if size > 0 else 0
        return b"".join(found)

    def _next_block(self) -> bytes:
        """The next block that is not empty; b"" at the end."""
        try:
            return next((block for block in self._blocks if block), b"")
        except BaseException:
            self._begin()  # a generator that has raised is exhausted, and would look like the end of the file
            raise


def _utf8_blocks(path: Path, form: Form) -> Iterator[bytes]:
    """The text without its mark, as UTF-8."""
    blocks = unpacked(path, form.compression)
    rest = form.mark
    decoder = None if form.encoding == "utf-8" else codecs.getincrementaldecoder(form.encoding)()
    try:
        for block in blocks:
            text, rest = block[rest:], max(rest - len(block), 0)
            yield text if decoder is None else decoder.decode(text).encode()
        if decoder is not None:
            yield decoder.decode(b"", final=True).encode()
    except UnicodeDecodeError as error:
        name = form.encoding.removesuffix("-le").removesuffix("-be").upper()
        raise ValueError(
            f"{path}: begins as {name}, but is damaged further on ({error.reason}); copy or convert it again"
        ) from None
