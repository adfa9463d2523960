"""Pieces ↔ ids with byte fallback: what SentencePiece's unigram and BPE vocabularies share.

A character that is no piece is written as its UTF-8 bytes, `<0xE2>` and so on, where the vocabulary has them; else a
run of such characters is one <unk>. `tokenizer()` gives the same vocabulary behind the `Tokenizer` protocol, where the
`tokenizers` library computes the ids.
"""

import struct
from collections.abc import Iterable, Mapping
from operator import index
from typing import ClassVar

from llm_jax.tokenizer.borders import Borders
from llm_jax.tokenizer.hf_files.carried import SENTENCEPIECE
from llm_jax.tokenizer.hf_files.companions import Companions
from llm_jax.tokenizer.hugging_face.definition import define
from llm_jax.tokenizer.hugging_face.tokenizer import HuggingFaceTokenizer
from llm_jax.tokenizer.protocol import check_text
from llm_jax.tokenizer.sentencepiece import as_tokenizer_json
from llm_jax.tokenizer.sentencepiece.corpus import Corpus
from llm_jax.tokenizer.sentencepiece.model_file import BYTE, CONTROL, NORMAL, UNKNOWN, Piece, SentencePieceModel
from llm_jax.tokenizer.sentencepiece.normalization import IDENTITY, NFKC, SPACE, Normalization

META = (("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL))
UNKNOWN_ID, BEGIN_ID, END_ID = range(3)


class SentencePieceVocabulary:
    """`scores`: piece → score, in order of id; ids begin with <unk>, <s>, </s>, then 256 bytes with `byte_fallback`."""

    algorithm: ClassVar[int]

    def __init__(self, scores: Mapping[str, float], normalization: Normalization, byte_fallback: bool):
        if clash := scores.keys() & {name for name, _ in META}:
            raise ValueError(f"the piece {clash.pop()!r} has the name of a token of its own; leave it out")
        self.scores = {piece: _float32(score) for piece, score in scores.items()}
        self.normalization, self.byte_fallback = normalization, byte_fallback
        self.n_bytes = 256 if byte_fallback else 0
        self.first = len(META) + self.n_bytes
        self.vocab_size = self.first + len(scores)
        self.longest = max(map(len, self.scores), default=1)
        self._id_of = {piece: number for number, piece in enumerate(self.scores, start=self.first)}
        self._pieces = list(self.scores)
        self._is_word_by_word = not any(SPACE in piece[1:] for piece in self.scores)
        self._known: dict[str, list[int]] = {}

    def segment(self, text: str) -> list[str]:
        """The pieces of a normalised text; a character that is no piece stands for itself."""
        raise NotImplementedError

    def encode(self, text: str) -> list[int]:
        """The ids of `text`; none of them is <s> or </s>. Raises ValueError for a surrogate."""
        check_text(text)
        normalised = self.normalization.apply(text)
        words = normalised.replace(SPACE, "\0" + SPACE).split("\0") if "\0" not in normalised else [normalised]
        ids: list[int] = []
        for word in words if self._is_word_by_word else [normalised]:
            if (found := self._known.get(word)) is None:
                found = self.ids_of(self.segment(word))
                if len(self._known) < 1 << 17:
                    self._known[word] = found
            skip = not self.byte_fallback and ids[-1:] == [UNKNOWN_ID] == found[:1]  # a run is one <unk>
            ids += found[skip:]
        return ids

    def ids_of(self, pieces: Iterable[str]) -> list[int]:
        ids: list[int] = []
        for piece in pieces:
            if (number := self._id_of.get(piece)) is not None:
                ids.append(number)
            elif self.byte_fallback:
                ids += [len(META) + byte for byte in piece.encode()]
            elif ids[-1:] != [UNKNOWN_ID]:
                ids.append(UNKNOWN_ID)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`, without <s>, </s> and <unk>. Raises ValueError for an id that has no token."""
        out = b""
        for number in map(index, ids):
            if not 0 <= number < self.vocab_size:
                raise ValueError(f"id {number} has no token; ids lie in 0…{self.vocab_size - 1}")
            if number >= self.first:
                out += self._pieces[number - self.first].encode()
            elif number >= len(META):
                out += bytes([number - len(META)])
        return self.normalization.undo(out.decode(errors="replace"))

    def model(self) -> SentencePieceModel:
        """As SentencePiece writes it. Raises ValueError where its file cannot say the normalization."""
        if self.normalization.form == NFKC:
            raise ValueError(
                "a SentencePiece model holds NFKC as a compiled table, which is not written here: take the "
                f"normalization {IDENTITY!r}, or tokenizer.json alone"
            )
        return self._model()

    def _model(self) -> SentencePieceModel:
        bytes_ = [Piece(f"<0x{byte:02X}>", 0.0, BYTE) for byte in range(self.n_bytes)]
        return SentencePieceModel(
            pieces=(
                *(Piece(name, 0.0, kind) for name, kind in META),
                *bytes_,
                *(Piece(piece, score, NORMAL) for piece, score in self.scores.items()),
            ),
            algorithm=self.algorithm,
            byte_fallback=self.byte_fallback,
            unknown=UNKNOWN_ID,
            begin=BEGIN_ID,
            end=END_ID,
            pad=None,
            character_map=b"",
            dummy_prefix=self.normalization.adds_prefix,
            removes_spaces=self.normalization.removes_spaces,
            escapes_spaces=True,
            normalizer=self.normalization.form,
        )

    def tokenizer(self) -> HuggingFaceTokenizer:
        """The same ids behind the `Tokenizer` protocol; saved, it is a tokenizer.json and, if it can be, a .model."""
        content = as_tokenizer_json.content(self._model())
        files: dict[str, bytes] = {}
        if self.normalization.form == NFKC:
            content["normalizer"]["normalizers"].insert(0, {"type": "NFKC"})
        else:
            files[SENTENCEPIECE[0]] = self.model().to_bytes()
        borders = Borders(BEGIN_ID, END_ID, (END_ID,))
        return HuggingFaceTokenizer(define(content, Companions()), files, borders=borders)


def room_for_pieces(vocab_size: int, byte_fallback: bool, corpus: Corpus) -> int:
    """How many pieces a vocabulary of so many tokens has. Raises ValueError where the characters do not fit."""
    others = len(META) + 256 * byte_fallback
    if vocab_size < others + len(corpus.alphabet):
        raise ValueError(
            f"vocab_size must be at least {others + len(corpus.alphabet)}, for {len(corpus.alphabet)} characters and "
            f"{others} other tokens; got {vocab_size}. A lower coverage leaves out rare characters"
        )
    return vocab_size - others


def _float32(value: float) -> float:
    return struct.unpack("<f", struct.pack("<f", value))[0]
