"""SentencePiece's `tokenizer.model`, read and written (Kudo & Richardson 2018, arXiv 1808.06226).

The file is a protocol buffer, `ModelProto` of sentencepiece_model.proto. This reads and writes the fields that decide
ids; reading passes over the others.
"""

import math
import struct
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from llm_jax.tokenizer.sentencepiece import protobuf
from llm_jax.tokenizer.sentencepiece.protobuf import fields_of

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
UNIGRAM, BPE, WORD, CHAR = range(1, 5)
ALGORITHMS = {UNIGRAM: "unigram", BPE: "BPE", WORD: "word", CHAR: "char"}
MOST_PIECES = 4_000_000
LONGEST_PIECE = 10_000  # characters


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
    normalizer: str = ""  # the name of the normalization; for people, the character map does the work

    def to_bytes(self) -> bytes:
        """The file."""
        numbers = {
            3: self.algorithm,
            4: len(self.pieces),
            35: int(self.byte_fallback),
            40: self.unknown,
            41: -1 if self.begin is None else self.begin,
            42: -1 if self.end is None else self.end,
            43: -1 if self.pad is None else self.pad,
        }
        trainer = b"".join(protobuf.number(field, value) for field, value in numbers.items())
        normalizer = protobuf.text(1, self.normalizer.encode())
        if self.character_map:
            normalizer += protobuf.text(2, self.character_map)
        switches = (self.dummy_prefix, self.removes_spaces, self.escapes_spaces)
        normalizer += b"".join(protobuf.number(field, int(value)) for field, value in enumerate(switches, start=3))
        pieces = (
            protobuf.text(1, piece.text.encode()) + protobuf.float32(2, piece.score) + protobuf.number(3, piece.kind)
            for piece in self.pieces
        )
        return b"".join(
            (*(protobuf.text(1, piece) for piece in pieces), protobuf.text(2, trainer), protobuf.text(3, normalizer))
        )


def parse(raw: bytes) -> SentencePieceModel:
    """The model in the bytes of a file. Raises ValueError for what is none."""
    try:
        fields = list(islice(fields_of(raw), MOST_PIECES + 1))
        if len(fields) > MOST_PIECES:
            raise ValueError(f"more than {MOST_PIECES:,} pieces")
        pieces = tuple(_piece(value) for number, value in fields if number == 1)
        trainer, normalizer = (dict(fields_of(_last(fields, number, b""))) for number in (2, 3))
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
            normalizer=bytes(normalizer.get(1, b"")).decode(),
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
        twice = next(text for text, n in Counter(piece.text for piece in model.pieces).items() if n > 1)
        raise ValueError(f"the piece {twice!r} is there twice: get the file again")
    if long := [piece for piece in model.pieces if len(piece.text) > LONGEST_PIECE]:
        raise ValueError(
            f"the piece {long[0].text[:20]!r}… has {len(long[0].text):,} characters; expected at most "
            f"{LONGEST_PIECE:,}: get the file again"
        )
    if empty := [number for number, piece in enumerate(model.pieces) if not piece.text]:
        raise ValueError(f"piece {empty[0]} has no text: get the file again")
    if wrong := [piece for piece in model.pieces if not math.isfinite(piece.score)]:
        raise ValueError(f"the score of the piece {wrong[0].text!r} is {wrong[0].score}: get the file again")
    if model.algorithm not in (UNIGRAM, BPE, CHAR):
        name = ALGORITHMS.get(model.algorithm, str(model.algorithm))
        raise ValueError(f"a SentencePiece model of type {name!r}; expected unigram, BPE or char")
    if trainer.get(24):
        raise ValueError("treat_whitespace_as_suffix puts the space behind a word; this is not computed here")


def _piece(raw: Any) -> Piece:
    fields = dict(fields_of(raw))
    (score,) = struct.unpack("<f", fields.get(2, bytes(4)))
    return Piece(fields.get(1, b"").decode(), score, fields.get(3, NORMAL))


def _id(trainer: dict[int, Any], number: int, default: int) -> int | None:
    """Negative numbers, which name no token, are written as 64 bits."""
    value = trainer.get(number, default)
    return value if 0 <= value < 1 << 31 else None


def _last(fields: list[tuple[int, Any]], number: int, default: bytes) -> Any:
    return next((value for field, value in reversed(fields) if field == number), default)
