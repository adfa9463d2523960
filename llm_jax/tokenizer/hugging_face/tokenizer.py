"""A `Tokenizer` whose ids the `tokenizers` library computes: normalizers, any pre-tokenizer, byte fallback, Unigram.

The ids are those of transformers' AutoTokenizer without the tokens that it adds around a text; special tokens in a
text are ordinary text unless they are allowed, as with `split_special_tokens=True`. Where the normalizer changes a text
(Unicode forms, spaces), decoding gives the changed one.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING

from llm_jax.tokenizer import special
from llm_jax.tokenizer.borders import Borders
from llm_jax.tokenizer.derived import Derived
from llm_jax.tokenizer.hf_files.carried import VOCABULARIES
from llm_jax.tokenizer.hugging_face.definition import Definition
from llm_jax.tokenizer.hugging_face.pieces import Pieces
from llm_jax.tokenizer.hugging_face.saving import save
from llm_jax.tokenizer.protocol import (
    NONE_ALLOWED,
    NONE_DISALLOWED,
    AllowedSpecial,
    DisallowedSpecial,
    Span,
    check_text,
    check_texts,
)

if TYPE_CHECKING:
    from tokenizers import Encoding
    from tokenizers import Tokenizer as Core

MOST_CORES = 4  # sets of allowed special tokens for which the library's tokenizer is kept


class HuggingFaceTokenizer(Derived):
    """A `Tokenizer` from a definition. `files`: those that it was read from, which `save` copies."""

    parts_at_special = False

    def __init__(
        self,
        definition: Definition,
        files: Mapping[str, bytes] | None = None,
        name: str | None = None,
        borders: Borders | None = None,
    ):
        self.definition, self.files = definition, dict(files or {})
        self.special_tokens, self.fingerprint = definition.special_tokens, definition.fingerprint
        self.borders = borders or Borders()
        self._cores: dict[frozenset[str], Core] = {}
        self._lock = threading.Lock()
        self._all = definition.core(self.special_tokens.keys())
        self.vocab_size = 1 + max(self._all.get_vocab(with_added_tokens=True).values())
        self.name = name or f"{definition.kind.lower()}-{self.vocab_size}"
        self._pieces = Pieces(self._all, definition.decoder)

    def __repr__(self) -> str:
        return f"<HuggingFaceTokenizer {self.name!r}: {self.vocab_size} ids>"

    def __reduce__(self):
        # For multiprocessing: the library's tokenizers are rebuilt on the other side.
        made = (self.definition, self.files, self.name, self.borders)
        return HuggingFaceTokenizer, made, {"chat": self.chat}

    def __copy__(self) -> "HuggingFaceTokenizer":
        copied = object.__new__(HuggingFaceTokenizer)
        copied.__dict__.update(self.__dict__)
        return copied

    @property
    def merges(self) -> list[tuple[bytes, bytes]]:
        """Pairs of tokens, each as the bytes that it adds behind others."""
        return list(self._merges)

    @cached_property
    def _merges(self) -> list[tuple[bytes, bytes]]:
        def written(token: str) -> bytes:
            number = self._all.token_to_id(token)
            return b"" if number is None else self.token_bytes(number)

        return [(written(left), written(right)) for left, right in self.definition.merges()]

    def encode(
        self,
        text: str,
        allowed_special: AllowedSpecial = NONE_ALLOWED,
        disallowed_special: DisallowedSpecial = NONE_DISALLOWED,
    ) -> list[int]:
        names = self._checked(text, allowed_special, disallowed_special)
        return self._encodings([text], names)[0].ids

    def encode_batch(
        self,
        texts: Sequence[str],
        allowed_special: AllowedSpecial = NONE_ALLOWED,
        threads: int | None = None,
        disallowed_special: DisallowedSpecial = NONE_DISALLOWED,
    ) -> list[list[int]]:
        """The ids of each text. The library chooses the number of threads, unless it is 1."""
        check_texts(texts)
        names = frozenset(special.resolve_allowed(self.special_tokens, allowed_special))
        for text in texts:
            self._checked(text, allowed_special, disallowed_special)
        groups = [[text] for text in texts] if threads == 1 else [list(texts)]
        return [found.ids for group in groups for found in self._encodings(group, names)]

    def encode_with_offsets(
        self,
        text: str,
        allowed_special: AllowedSpecial = NONE_ALLOWED,
        disallowed_special: DisallowedSpecial = NONE_DISALLOWED,
    ) -> tuple[list[int], list[Span]]:
        """The library's offsets: a token of a space that the tokenizer itself adds spans nothing of the text."""
        names = self._checked(text, allowed_special, disallowed_special)
        found = self._core(names).encode(text, add_special_tokens=False)
        return found.ids, found.offsets

    def encode_iterable(
        self,
        pieces: Iterable[str],
        allowed_special: AllowedSpecial = NONE_ALLOWED,
        disallowed_special: DisallowedSpecial = NONE_DISALLOWED,
    ) -> Iterator[int]:
        """The ids of the joined `pieces`, once all are there: where the library may cut a text is not known."""
        return super().encode_iterable(pieces, allowed_special, disallowed_special)

    def safe_cut(self, text: str) -> int:
        return 0

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        pieces = []
        for place, number in enumerate(map(index, ids)):
            piece = self._pieces.behind(number) if place else self._pieces.first(number)
            if piece is None:
                raise self._no_token(number)
            pieces.append(piece)
        return b"".join(pieces)

    def token_bytes(self, number: int) -> bytes:
        if (piece := self._pieces.behind(index(number))) is None:
            raise self._no_token(number)
        return piece

    def token_to_id(self, token: str | bytes) -> int | None:
        return self._id_of_bytes.get(token) if isinstance(token, bytes) else self._all.token_to_id(token)

    def id_to_token(self, number: int) -> str | None:
        number = index(number)
        return self._all.id_to_token(number) if 0 <= number < self.vocab_size else None

    def with_special_tokens(self, added: Sequence[str]) -> "HuggingFaceTokenizer":
        grown = special.grown(self.special_tokens, added, self.vocab_size)
        if clash := [token for token in added if self.token_to_id(token) is not None]:
            raise ValueError(f"{clash[0]!r} is an ordinary token of {self.name!r} already: give another spelling")
        files = {name: content for name, content in self.files.items() if name not in VOCABULARIES}
        definition = self.definition.grown({token: grown[token] for token in added})
        made = HuggingFaceTokenizer(definition, files, borders=self.borders)
        made.chat = self.chat
        return made

    def save(self, directory: str | Path, model_max_length: int | None = None) -> None:
        """Copies the files that it was read from, unchanged; writes them where it was not read from any.

        Other borders than these files name are written into tokenizer_config.json and generation_config.json.
        `model_max_length` is left as the files say it.
        """
        save(self, self.definition, Path(directory))

    def _checked(self, text: str, allowed: AllowedSpecial, disallowed: DisallowedSpecial) -> frozenset[str]:
        """The allowed special tokens. Raises as `encode`."""
        check_text(text)
        names = special.resolve_allowed(self.special_tokens, allowed)
        special.refuse(text, special.resolve_disallowed(self.special_tokens, names, disallowed))
        return frozenset(names)

    def _encodings(self, texts: list[str], names: frozenset[str]) -> "list[Encoding]":
        """Raises ValueError where the vocabulary cannot write a text."""
        try:
            return self._core(names).encode_batch_fast(texts, add_special_tokens=False)
        except Exception as error:  # the library raises no narrower class
            raise ValueError(f"{self.name!r} cannot encode the text: {error}") from None

    def _core(self, names: frozenset[str]) -> "Core":
        with self._lock:
            if len(names) == len(self.special_tokens):
                return self._all
            if names not in self._cores:
                if len(self._cores) == MOST_CORES:
                    del self._cores[next(iter(self._cores))]  # the oldest
                self._cores[names] = self.definition.core(names)
            return self._cores[names]

    @cached_property
    def _id_of_bytes(self) -> dict[bytes, int]:
        """Bytes → the smallest id with them; ordinary tokens come before those of byte fallback and special ones."""
        special_ids, found = set(self.special_tokens.values()), dict[bytes, int]()
        for number in sorted(range(self.vocab_size), key=lambda n: (n in special_ids, self._pieces.is_fallback(n), n)):
            if (piece := self._pieces.behind(number)) is not None:
                found.setdefault(piece, number)
        return found

    def _no_token(self, number: int) -> ValueError:
        return ValueError(f"id {number} has no token in {self.name!r}; its ids lie in 0…{self.vocab_size - 1}")
