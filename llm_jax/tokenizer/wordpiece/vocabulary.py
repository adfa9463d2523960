"""A WordPiece vocabulary: words ↔ ids.

A word is cut from the left, each time after the longest beginning that is a piece; `##` marks pieces that go on a word.
A word that cannot be cut so, even in its last letter, is [UNK] as a whole. `tokenizer()` gives the same vocabulary
behind the `Tokenizer` protocol, where the `tokenizers` library computes the ids.
"""

from collections.abc import Iterable, Sequence
from operator import index
from typing import Any

from llm_jax.tokenizer.borders import Borders
from llm_jax.tokenizer.hf_files import bert_class
from llm_jax.tokenizer.hf_files.bert_class import GOES_ON, LONGEST_WORD
from llm_jax.tokenizer.hf_files.companions import Companions
from llm_jax.tokenizer.hugging_face.definition import define
from llm_jax.tokenizer.hugging_face.tokenizer import HuggingFaceTokenizer
from llm_jax.tokenizer.protocol import check_text
from llm_jax.tokenizer.wordpiece.words import split_words

PAD, UNKNOWN, CLASS, SEPARATOR, MASK = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class WordPieceVocabulary:
    """`pieces` in order of id; [UNK] is one of them.

    >>> WordPieceVocabulary(["[UNK]", "hug", "##s", "b"]).encode("hugs bugs")
    [1, 2, 0]
    """

    def __init__(self, pieces: Sequence[str], lowercase: bool = True):
        self.pieces, self.lowercase = list(pieces), lowercase
        self.vocab_size = len(self.pieces)
        self._id_of = {piece: number for number, piece in enumerate(self.pieces)}
        if len(self._id_of) < len(self.pieces):
            twice = next(piece for number, piece in enumerate(self.pieces) if self._id_of[piece] != number)
            raise ValueError(f"the piece {twice!r} is there twice; give each once")
        if UNKNOWN not in self._id_of:
            raise ValueError(f"a WordPiece vocabulary has a token {UNKNOWN} for words that it cannot write")
        self._longest = max(map(len, self.pieces))

    def segment(self, word: str) -> list[str]:
        """The pieces of one word: the longest match from the left, again and again; [UNK] if that fails."""
        pieces: list[str] = []
        start = 0
        while start < len(word) <= LONGEST_WORD:
            prefix = GOES_ON if start else ""
            stops = range(min(len(word), start + self._longest), start, -1)
            stop = next((stop for stop in stops if prefix + word[start:stop] in self._id_of), None)
            if stop is None:
                return [UNKNOWN]
            pieces.append(prefix + word[start:stop])
            start = stop
        return pieces or [UNKNOWN]

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without [CLS] and [SEP]. Raises ValueError for a surrogate."""
        check_text(text)
        words = split_words(text, self.lowercase)
        return [self._id_of[piece] for word in words for piece in self.segment(word)]

    def encode_for_bert(self, text: str, second: str | None = None) -> list[int]:
        """[CLS] text [SEP], and second [SEP] where there is one. Raises ValueError where these tokens are missing."""
        if missing := {CLASS, SEPARATOR} - self._id_of.keys():
            raise ValueError(f"the vocabulary has no token {missing.pop()}")
        ends = [self._id_of[SEPARATOR]]
        behind = [] if second is None else self.encode(second) + ends
        return [self._id_of[CLASS], *self.encode(text), *ends, *behind]

    def decode(self, ids: Iterable[int]) -> str:
        """The words of `ids`, with a space between them. Raises ValueError for an id that has no token."""
        text = ""
        for number in map(index, ids):
            if not 0 <= number < self.vocab_size:
                raise ValueError(f"id {number} has no token; ids lie in 0…{self.vocab_size - 1}")
            piece = self.pieces[number]
            text += piece.removeprefix(GOES_ON) if piece.startswith(GOES_ON) else f" {piece}"
        return text.removeprefix(" ")

    def content(self) -> dict[str, Any]:
        """The content of a `tokenizer.json`."""
        special = [(piece, self._id_of[piece]) for piece in SPECIAL if piece in self._id_of]
        settings = bert_class.as_bert(Companions(tokenizer_config={"do_lower_case": self.lowercase}))
        return {
            "version": "1.0",
            "added_tokens": [{"id": number, "content": piece, "special": True} for piece, number in special],
            "post_processor": None,
            **bert_class.parts(self._id_of, settings, cleanup=False),
        }

    def tokenizer(self) -> HuggingFaceTokenizer:
        """The same ids behind the `Tokenizer` protocol. [SEP] ends a document, [PAD] pads."""
        end, pad = self._id_of.get(SEPARATOR), self._id_of.get(PAD)
        borders = Borders(end=end, stops=() if end is None else (end,), pad=pad)
        return HuggingFaceTokenizer(define(self.content(), Companions()), borders=borders)
