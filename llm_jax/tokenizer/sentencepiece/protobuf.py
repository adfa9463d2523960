"""Protocol buffers, as far as SentencePiece's models need them: fields of a message, read and written.

A message is a sequence of fields, each a key (number and kind), then a number, four or eight bytes, or a length and so
many bytes.
"""

import struct
from collections.abc import Iterator
from typing import Any

_NUMBER, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5  # kinds of fields


def number(field: int, value: int) -> bytes:
    """Negative values are written as 64 bits."""
    return _varint_of(field << 3 | _NUMBER) + _varint_of(value & (1 << 64) - 1)


def text(field: int, value: bytes) -> bytes:
    """Text, bytes or a message."""
    return _varint_of(field << 3 | _BYTES) + _varint_of(len(value)) + value


def float32(field: int, value: float) -> bytes:
    return _varint_of(field << 3 | _FOUR_BYTES) + struct.pack("<f", value)


def _varint_of(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit says that more follow."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def fields_of(raw: Any) -> Iterator[tuple[int, Any]]:
    """(number, value) of each field: a whole number, or bytes."""
    if not isinstance(raw, bytes):
        raise TypeError(f"expected a message, found {raw!r}")
    place = 0
    while place < len(raw):
        key, place = _varint(raw, place)
        number, kind = key >> 3, key & 7
        if kind == _NUMBER:
            value, place = _varint(raw, place)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            value, place = _slice(raw, place, 8 if kind == _EIGHT_BYTES else 4)
        elif kind == _BYTES:
            length, place = _varint(raw, place)
            value, place = _slice(raw, place, length)
        else:
            raise ValueError(f"field {number} at byte {place:,} is of kind {kind}")
        yield number, value


def _varint(raw: bytes, place: int) -> tuple[int, int]:
    """Seven bits a byte, the lowest first; the highest bit says that more follow."""
    value = shift = 0
    while True:
        byte = raw[place]
        value, shift, place = value | (byte & 0x7F) << shift, shift + 7, place + 1
        if byte < 0x80:
            return value, place
        if shift > 63:
            raise ValueError(f"the number at byte {place:,} is too long")


def _slice(raw: bytes, place: int, length: int) -> tuple[bytes, int]:
    if place + length > len(raw):
        raise ValueError(f"it ends inside a field of {length:,} bytes at byte {place:,}")
    return raw[place : place + length], place + length
