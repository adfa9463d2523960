"""Pieces ↔ ids with byte fallback: what SentencePiece's unigram and BPE vocabularies share.

A character that is no piece is written as its UTF-8 bytes, `<0xE2>` and so on, where the vocabulary has them; else a
run of such characters is one <unk>. `tokenizer()` gives the same vocabulary behind the `Tokenizer` protocol, where the
`tokenizers` library computes the ids.
"""

import json
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from operator import index
from pathlib import Path
from typing import ClassVar, Self

from llm_jax.tokenizer.borders import Borders
from llm_jax.tokenizer.hf_files.carried import SENTENCEPIECE
from llm_jax.tokenizer.hf_files.companions import TOKENIZER_CONFIG, Companions
from llm_jax.tokenizer.hf_files.post_processor import NEUTRAL_CLASS
from llm_jax.tokenizer.hf_files.soundness import refuse_size
from llm_jax.tokenizer.hugging_face.definition import define
from llm_jax.tokenizer.hugging_face.tokenizer import HuggingFaceTokenizer
from llm_jax.tokenizer.protocol import check_text
from llm_jax.tokenizer.sentencepiece import as_tokenizer_json, model_file, nfkc_table
from llm_jax.tokenizer.sentencepiece.corpus import WITH_RUNS, Corpus
from llm_jax.tokenizer.sentencepiece.model_file import (
    ALGORITHMS,
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    Piece,
    SentencePieceModel,
)
from llm_jax.tokenizer.sentencepiece.normalization import IDENTITY, NFKC, SPACE, Normalization

META = (("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL))
UNKNOWN_ID, BEGIN_ID, END_ID = range(3)
TAKE_LOAD = "load its folder with llm_jax.tokenizer.load"


class SentencePieceVocabulary(ABC):
    """A vocabulary from a `tokenizer.model`; `form` is NFKC where texts are first brought into that form.

    Raises ValueError for a model with a compiled table other than NFKC's or pieces that a user defined: `load` reads
    those.
    """

    algorithm: ClassVar[int]

    def __init__(self, model: SentencePieceModel, form: str = IDENTITY):
        if model.algorithm != self.algorithm:
            expected, found = (ALGORITHMS.get(number, str(number)) for number in (self.algorithm, model.algorithm))
            raise ValueError(f"expected a SentencePiece model of type {expected!r}; got one of type {found!r}")
        if nfkc_table.is_in(model):
            model, form = replace(model, character_map=b"", normalizer=NFKC), NFKC
        if model.character_map or not model.escapes_spaces:
            raise ValueError(f"the model rewrites texts by a compiled table: {TAKE_LOAD}")
        if others := [piece.text for piece in model.pieces if piece.kind in (USER_DEFINED, UNUSED)]:
            raise ValueError(f"{others[0]!r} is a piece for users or out of use: {TAKE_LOAD}")
        self._model = model
        self.normalization = Normalization(form, model.removes_spaces, model.dummy_prefix)
        self.byte_fallback, self.vocab_size = model.byte_fallback, len(model.pieces)
        self.scores = {piece.text: piece.score for piece in model.pieces if piece.kind == NORMAL}
        self.longest = max(map(len, self.scores), default=1)
        self._id_of = {piece.text: number for number, piece in enumerate(model.pieces) if piece.kind == NORMAL}
        self._id_of_byte = {piece.text: number for number, piece in enumerate(model.pieces) if piece.kind == BYTE}
        if self.byte_fallback and len(self._id_of_byte) < 256:
            raise ValueError(f"byte fallback needs 256 pieces for bytes; there are {len(self._id_of_byte)}")
        self._is_word_by_word = not any(SPACE in piece.lstrip(SPACE) for piece in self.scores)
        self._known: dict[str, list[int]] = {}

    @classmethod
    def of(cls, scores: Mapping[str, float], normalization: Normalization, byte_fallback: bool) -> Self:
        """Ids begin with <unk>, <s>, </s>, with `byte_fallback` 256 bytes; then come the pieces of `scores`."""
        if clash := scores.keys() & {name for name, _ in META}:
            raise ValueError(f"the piece {clash.pop()!r} has the name of a token of its own; leave it out")
        pieces = (
            *(Piece(name, 0.0, kind) for name, kind in META),
            *(Piece(_spelled(byte), 0.0, BYTE) for byte in range(256 * byte_fallback)),
            *(Piece(piece, _float32(score), NORMAL) for piece, score in scores.items()),
        )
        model = SentencePieceModel(
            pieces=pieces,
            algorithm=cls.algorithm,
            byte_fallback=byte_fallback,
            unknown=UNKNOWN_ID,
            begin=BEGIN_ID,
            end=END_ID,
            pad=None,
            character_map=b"",
            dummy_prefix=normalization.adds_prefix,
            removes_spaces=normalization.removes_spaces,
            escapes_spaces=True,
            normalizer=normalization.form,
        )
        return cls(model, normalization.form)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The vocabulary in a `tokenizer.model`. Raises ValueError naming the file."""
        try:
            refuse_size(path)
            return cls(model_file.parse(path.read_bytes()))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    @abstractmethod
    def segment(self, text: str) -> list[str]:
        """The pieces of a normalised text; a character that is no piece stands for itself."""

    def encode(self, text: str) -> list[int]:
        """The ids of `text`; none of them is <s> or </s>. Raises ValueError for a surrogate."""
        check_text(text)
        normalised = self.normalization.apply(text)
        words = WITH_RUNS.findall(normalised) if self._is_word_by_word else [normalised]
        ids: list[int] = []
        for word in words:
            if (found := self._known.get(word)) is None:
                found = self.ids_of(self.segment(word))
                if len(self._known) < 1 << 17:
                    self._known[word] = found
            skip = not self.byte_fallback and ids[-1:] == [self._model.unknown] == found[:1]  # a run is one <unk>
            ids += found[skip:]
        return ids

    def ids_of(self, pieces: Iterable[str]) -> list[int]:
        ids: list[int] = []
        for piece in pieces:
            if (number := self._id_of.get(piece)) is not None:
                ids.append(number)
            elif self.byte_fallback:
                ids += [self._id_of_byte[_spelled(byte)] for byte in piece.encode()]
            elif ids[-1:] != [self._model.unknown]:
                ids.append(self._model.unknown)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`, without <s>, </s> and <unk>. Raises ValueError for an id that has no token."""
        out = b""
        for number in map(index, ids):
            if not 0 <= number < self.vocab_size:
                raise ValueError(f"id {number} has no token; ids lie in 0…{self.vocab_size - 1}")
            piece = self._model.pieces[number]
            if piece.kind == NORMAL:
                out += piece.text.encode()
            elif piece.kind == BYTE:
                out += bytes.fromhex(piece.text[3:5])
        return self.normalization.undo(out.decode(errors="replace"))

    def model(self) -> SentencePieceModel:
        """As SentencePiece writes it; with NFKC, its table of characters as well."""
        if self.normalization.form == NFKC:
            return replace(self._model, character_map=nfkc_table.table(), normalizer=nfkc_table.NAME)
        return self._model

    def tokenizer(self) -> HuggingFaceTokenizer:
        """The same ids behind the `Tokenizer` protocol; saved, it is a tokenizer.json and a tokenizer.model.

        tokenizer_config.json names <unk>, <s> and </s>: transformers asks it alone for them.
        """
        model = self.model()
        ids = {"bos_token": model.begin, "eos_token": model.end, "unk_token": model.unknown, "pad_token": model.pad}
        named = {role: model.pieces[number].text for role, number in ids.items() if number is not None}
        config = json.dumps(NEUTRAL_CLASS | named, indent=1).encode()
        files = {SENTENCEPIECE[0]: model.to_bytes(), TOKENIZER_CONFIG: config}
        begin, end = self._model.begin, self._model.end
        borders = Borders(begin, end, () if end is None else (end,), self._model.pad)
        return HuggingFaceTokenizer(define(as_tokenizer_json.content(model), Companions()), files, borders=borders)


def room_for_pieces(vocab_size: int, byte_fallback: bool, corpus: Corpus) -> int:
    """How many pieces a vocabulary of so many tokens has. Raises ValueError where the characters do not fit."""
    others = len(META) + 256 * byte_fallback
    if vocab_size < others + len(corpus.alphabet):
        raise ValueError(
            f"vocab_size must be at least {others + len(corpus.alphabet)}, for {len(corpus.alphabet)} characters and "
            f"{others} other tokens; got {vocab_size}. A lower coverage leaves out rare characters"
        )
    return vocab_size - others


def refuse_too_few(found: int, wanted: int, vocab_size: int) -> None:
    """Raises ValueError where training found fewer pieces than a vocabulary of `vocab_size` tokens needs."""
    if found < wanted:
        raise ValueError(
            f"the texts have pieces for {vocab_size - wanted + found} tokens at most; got vocab_size={vocab_size}. "
            "Choose a smaller one, or give more text"
        )


def _spelled(byte: int) -> str:
    return f"<0x{byte:02X}>"


def _float32(value: float) -> float:
    return struct.unpack("<f", struct.pack("<f", value))[0]
