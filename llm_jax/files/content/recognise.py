"""Recognises a file by its first 64 KB, whatever its name says."""

from dataclasses import dataclass
from pathlib import Path

from llm_jax.files.content import formats
from llm_jax.files.content.unpack import unpacked

HEAD_BYTES = 1 << 16


@dataclass(frozen=True)
class Form:
    """How a file stores its text."""

    compression: str | None = None  # gzip, zstandard, bzip2, xz, lz4
    encoding: str = "utf-8"
    mark: int = 0  # bytes of the byte order mark

    @property
    def is_seekable(self) -> bool:
        """Whether the file, after its byte order mark, is the text in UTF-8."""
        return self.compression is None and self.encoding == "utf-8"


UTF8 = Form()


@dataclass(frozen=True)
class Content:
    """What a file holds. `kind` is text, parquet or arrow. For other formats, `refusal` has the format and the cure."""

    kind: str
    form: Form = UTF8
    head: bytes = b""  # the first bytes of the text: decompressed, not decoded, without the byte order mark
    refusal: str = ""

    @property
    def head_text(self) -> str:
        """The first characters of a text."""
        return self.head.decode(self.form.encoding, "ignore")


def recognise(path: Path) -> Content:
    """Recognises a file by its first bytes.

    Raises:
        OSError: it cannot be opened or read; names it.
        ValueError: it is compressed and damaged; names it.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except PermissionError:
        raise PermissionError(
            f"{path}: may not be read by this user; change its permissions, or leave it out"
        ) from None
    compression = next((name for name, begin in formats.COMPRESSIONS if begin.match(head)), None)
    if compression is None:
        return _recognise(head, None)
    inside = b""
    for block in unpacked(path, compression):
        inside += block
        if len(inside) >= HEAD_BYTES:
            break
    if any(begin.match(inside) for _, begin in formats.COMPRESSIONS):
        return Content("", refusal=f"compressed twice ({compression} outside); unpack it once")
    return _recognise(inside[:HEAD_BYTES], compression)


def _recognise(head: bytes, compression: str | None) -> Content:
    inside = f" inside {compression}" if compression else ""
    for name, begin in formats.TABLES:
        if begin.match(head):
            if compression:
                return Content("", refusal=f"{name}{inside}; unpack it first: {name} compresses by itself")
            return Content(name)
    for format_name, cure, begin in formats.FORMATS:
        if begin.match(head):
            return Content("", refusal=f"{format_name}{inside}; {cure}")
    mark, encoding = next(((mark, name) for mark, name in formats.MARKS if head.startswith(mark)), (b"", ""))
    if not encoding:
        encoding = formats.unmarked_encoding(head) or "utf-8"
    text = head[len(mark) :]
    if encoding == "utf-8" and formats.looks_binary(text):
        if formats.has_zeros_in_text(text):
            return Content("", refusal=f"text with zero bytes{inside}; {formats.ZEROS}")
        return Content("", refusal=f"binary data{inside}, no text; leave it out, or convert it to UTF-8 text")
    return Content("text", Form(compression, encoding, len(mark)), text)
