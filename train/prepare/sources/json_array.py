"""Documents in one JSON array. Its elements are parsed one at a time, so the array may be larger than the memory."""

import codecs
import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from llm_jax.files.content import Form
from llm_jax.files.json_files import integer
from train.prepare.slices import BadRow, not_utf8, read_at
from train.prepare.sources.arrow import no_column

BLOCK_BYTES = 1 << 20

_WHITE = re.compile(r"[ \t\r\n\ufeff]*")
_UNDECODED = re.compile(
    "[\udc80-\udcff]"
)  # characters that `surrogateescape` puts in place of bytes that are not UTF-8


def array_texts(path: Path, form: Form, column: str) -> Iterator[str | BadRow]:
    """The field `column` of each object in a JSON array; an element without a text gives a BadRow.

    Raises:
        ValueError: the array itself is broken; names file and element.
    """
    for number, row in enumerate(array_values(path, form)):
        try:
            yield row if isinstance(row, BadRow) else text_of_row(row, column)
        except ValueError as error:
            yield BadRow(f"{path}, element {number:,}: {error}")


def array_values(path: Path, form: Form) -> Iterator[Any]:
    """The elements of a JSON array; one that holds bytes that are not UTF-8 is a BadRow. Raises as `array_texts`."""
    faults: list[str] = []
    scanner = _Scanner(_blocks(path, form, faults))
    for number, row in enumerate(_elements(path, scanner)):
        if faults and _UNDECODED.search(scanner.source):
            row = BadRow(f"{path}, element {number:,}: bytes that are not UTF-8; the first of the file: {faults[0]}")
        yield row


def text_of_row(row: Any, column: str) -> str:
    """The text of one JSON value.

    Raises:
        ValueError: it is not an object with a string in `column`.
    """
    if not isinstance(row, dict):
        raise ValueError(f"{type(row).__name__}; expected an object with {column!r}")
    if column not in row:
        raise ValueError(no_column(column, row))
    if not isinstance(text := row[column], str):
        raise ValueError(f"{column!r} is {text!r}; expected a string")
    return text


def _elements(path: Path, text: "_Scanner") -> Iterator[Any]:
    """The elements of an array, one in memory at a time."""
    number = 0
    try:
        text.take("[")
        while text.peek() != "]" or number:
            yield text.value()
            number += 1
            if text.peek() == "]":
                break
            text.take(",")
        text.take("]")
    except (json.JSONDecodeError, RecursionError) as error:
        reason = getattr(error, "msg", "nested too deeply")
        raise ValueError(
            f"{path}, element {number:,}: not valid JSON ({reason}); the file was cut short or edited"
        ) from None
    if text.peek():
        raise ValueError(f"{path}: something follows the end of its array; expected one array in a file")


class _Scanner:
    """Parses JSON values from blocks of text."""

    def __init__(self, blocks: Iterator[str]):
        self._blocks, self._buffer, self._at = blocks, "", 0
        self._decoder = json.JSONDecoder(parse_int=integer)
        self._value_start = 0

    @property
    def source(self) -> str:
        """The JSON text of the last value."""
        return self._buffer[self._value_start : self._at]

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            self._at = _WHITE.match(self._buffer, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._more(1):
                return ""

    def take(self, mark: str) -> None:
        if self.peek() != mark:
            raise json.JSONDecodeError(f"expected {mark!r}", self._buffer, self._at)
        self._at += 1

    def value(self) -> Any:
        self.peek()
        blocks = 1  # doubled after each failure, so that a long element is parsed only a few times
        while True:
            try:
                self._value_start = self._at
                value, self._at = self._decoder.raw_decode(self._buffer, self._at)
                return value
            except json.JSONDecodeError as error:
                is_open = error.msg.startswith("Unterminated string") or error.pos > len(self._buffer) - 16
                if not is_open or not self._more(blocks):
                    raise
                blocks *= 2

    def _more(self, blocks: int) -> bool:
        new = "".join(islice(self._blocks, blocks))
        self._buffer, self._at = self._buffer[self._at :] + new, 0
        return bool(new)


def _blocks(path: Path, form: Form, faults: list[str]) -> Iterator[str]:
    """The text of a file, a megabyte at a time. Adds the place of the first bytes that are not UTF-8 to `faults`.

    Raises ValueError for a file that ends within a character.
    """
    strict = codecs.getincrementaldecoder("utf-8")()
    lenient = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    position = 0
    while block := read_at(path, form, position, BLOCK_BYTES):
        if not faults:
            kept = len(strict.getstate()[0])  # bytes of a character that began in the previous block
            try:
                strict.decode(block)
            except UnicodeDecodeError as error:
                faults.append(str(not_utf8(error, path, position - kept, form)))
        yield lenient.decode(block)
        position += len(block)
    if lenient.getstate()[0]:
        raise ValueError(f"{path}: ends within a character; it was cut short: copy it again")
