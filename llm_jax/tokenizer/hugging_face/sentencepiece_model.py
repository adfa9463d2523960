"""SentencePiece's `tokenizer.model`, read (Kudo & Richardson 2018, arXiv 1808.06226).

The file is a protocol buffer, `ModelProto` of sentencepiece_model.proto: a sequence of fields, each a key (number and
kind), then a number, or a length and so many bytes. This reads the fields that decide ids and passes over the others.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
UNIGRAM, BPE, WORD, CHAR = range(1, 5)
ALGORITHMS = {UNIGRAM: "unigram", BPE: "BPE", WORD: "word", CHAR: "char"}
_NUMBER, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5  # kinds of fields


class Piece(NamedTuple):
    """A token: its text (with ▁ for a space), its score, and one of the kinds above."""

    text: str
    score: float
    kind: int


@dataclass(frozen=True)
class SentencePieceModel:
    pieces: tuple[Piece, ...]
    algorithm: int
    byte_fallback: bool
    unknown: int  # id of the unknown token
    begin: int | None
    end: int | None
    pad: int | None
    character_map: bytes  # SentencePiece's compiled normalization; empty for none
    dummy_prefix: bool  # a space is put before a text
    removes_spaces: bool  # at both ends, and all but one inside
    escapes_spaces: bool  # as ▁


def parse(raw: bytes) -> SentencePieceModel:
    """The model in the bytes of a file. Raises ValueError for what is none."""
    try:
        fields = list(_fields(raw))
        pieces = tuple(_piece(value) for number, value in fields if number == 1)
        trainer, normalizer = (dict(_fields(_last(fields, number, b""))) for number in (2, 3))
        found = SentencePieceModel(
            pieces=pieces,
            algorithm=trainer.get(3, UNIGRAM),
            byte_fallback=bool(trainer.get(35, 0)),
            unknown=trainer.get(40, 0),
            begin=_id(trainer, 41, 1),
            end=_id(trainer, 42, 2),
            pad=_id(trainer, 43, -1),
            character_map=bytes(normalizer.get(2, b"")),
            dummy_prefix=bool(normalizer.get(3, 1)),
            removes_spaces=bool(normalizer.get(4, 1)),
            escapes_spaces=bool(normalizer.get(5, 1)),
        )
    except (IndexError, struct.error, UnicodeDecodeError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"not a SentencePiece model, or a damaged one ({error}): get the file again") from None
    _check(found, trainer)
    return found


def _check(model: SentencePieceModel, trainer: dict[int, Any]) -> None:
    if not model.pieces:
        raise ValueError("not a SentencePiece model: it has no pieces; get the file again")
    if not 0 <= model.unknown < len(model.pieces) or model.pieces[model.unknown].kind != UNKNOWN:
        raise ValueError(f"piece {model.unknown} is not its unknown token: get the file again")
    if len({piece.text for piece in model.pieces}) < len(model.pieces):
        raise ValueError("a piece is there twice: get the file again")
    if model.algorithm not in (UNIGRAM, BPE, CHAR):
        name = ALGORITHMS.get(model.algorithm, str(model.algorithm))
        raise ValueError(f"a SentencePiece model of type {name!r}; expected unigram, BPE or char")
    if trainer.get(24):
        raise ValueError("treat_whitespace_as_suffix puts the space behind a word; this is not computed here")


def _fields(raw: Any) -> Iterator[tuple[int, Any]]:
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


def _piece(raw: Any) -> Piece:
    fields = dict(_fields(raw))
    (score,) = struct.unpack("<f", fields.get(2, bytes(4)))
    return Piece(fields.get(1, b"").decode(), score, fields.get(3, NORMAL))


def _id(trainer: dict[int, Any], number: int, default: int) -> int | None:
    """Negative numbers, which name no token, are written as 64 bits."""
    value = trainer.get(number, default)
    return value if 0 <= value < 1 << 31 else None


def _last(fields: list[tuple[int, Any]], number: int, default: bytes) -> Any:
    return next((value for field, value in reversed(fields) if field == number), default)
