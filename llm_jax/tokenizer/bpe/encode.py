"""Byte-level byte-pair encoding (BPE): text ↔ ids, given a vocabulary.

Sennrich et al. 2016 (arXiv 1508.07909) build words from the pairs that occur most often; GPT-2 (Radford et al. 2019)
starts from the 256 bytes instead of from characters, so no text is ever out of vocabulary. Text is cut into pre-tokens
(`patterns.py`) and each is merged by itself (`merge.py`); a vocabulary is learned in `train.py`.

The vocabulary is one dictionary, token bytes → rank, and the rank is the id: tiktoken's form, from which the merges of
a `tokenizer.json` follow. Left out, and read by Hugging Face's library: vocabularies whose ids are not in merge order
(RoBERTa's), text normalisation, tokens that are added without being special.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from operator import index
from pathlib import Path

import numpy as np

from llm_jax.tokenizer import special
from llm_jax.tokenizer.borders import Borders
from llm_jax.tokenizer.bpe import cuts, rank_file, vocabulary
from llm_jax.tokenizer.bpe.merge import merge, merges_from_ranks
from llm_jax.tokenizer.bpe.patterns import GPT2_PATTERN, for_tiktoken, published, splitter
from llm_jax.tokenizer.derived import Derived
from llm_jax.tokenizer.hf_files import chat_templates, saving, tokenizer_json
from llm_jax.tokenizer.protocol import (
    END_OF_TEXT,
    NONE_ALLOWED,
    NONE_DISALLOWED,
    AllowedSpecial,
    DisallowedSpecial,
    check_texts,
)

CACHE_ENTRIES = 1 << 17  # distinct pre-tokens remembered; English text of 10 MB has about 50,000
CACHE_LONGEST = 64  # characters; a longer pre-token is unlikely to come again


class BytePairTokenizer(Derived):
    """A `Tokenizer` from `ranks` (every single byte, and each merged token, to its id), `pattern` and special tokens.

    `borders`: which ids begin and end a text. Default: `<|endoftext|>`, if it is among the special tokens.

    Raises ValueError unless the ranks count up from 0 without a gap, apart from ids that special tokens take.

    >>> tokenizer = BytePairTokenizer({bytes([byte]): byte for byte in range(256)} | {b"ab": 256})
    >>> tokenizer.encode("cab")
    [99, 256]
    """

    def __init__(
        self,
        ranks: Mapping[bytes, int],
        pattern: str = GPT2_PATTERN,
        special_tokens: Mapping[str, int] | None = None,
        name: str | None = None,
        borders: Borders | None = None,
    ):
        self.ranks = dict(ranks)
        self.pattern = published(pattern)
        self.special_tokens = dict(special_tokens or {})
        vocabulary.check(self.ranks, self.special_tokens)
        self.vocab_size = 1 + max(max(self.ranks.values()), *self.special_tokens.values(), 0)
        self.name = name or f"bpe-{self.vocab_size}"
        end = self.special_tokens.get(END_OF_TEXT)
        # Files name their own borders. Vocabularies that are trained here, and OpenAI's, have this token or none.
        self.borders = borders or (Borders() if end is None else Borders.of_one(end))
        self.fingerprint = vocabulary.fingerprint(self.ranks, self.pattern, self.special_tokens)
        self._split = splitter(self.pattern)
        self._cache: dict[str, list[int]] = {}
        self._bytes_of = {rank: token for token, rank in self.ranks.items()}
        self._bytes_of.update((number, token.encode()) for token, number in self.special_tokens.items())
        self._special_of = {number: token for token, number in self.special_tokens.items()}

    def __repr__(self) -> str:
        return f"<BytePairTokenizer {self.name!r}: {self.vocab_size} ids>"

    def __reduce__(self):
        # For multiprocessing: the Rust core and the cache are rebuilt on the other side.
        made = (self.ranks, self.pattern, self.special_tokens, self.name, self.borders)
        return BytePairTokenizer, made, {"chat": self.chat}

    @property
    def merges(self) -> list[tuple[bytes, bytes]]:
        return list(self._merges)

    @cached_property
    def _merges(self) -> list[tuple[bytes, bytes]]:
        return merges_from_ranks(self.ranks)

    def encode(
        self,
        text: str,
        allowed_special: AllowedSpecial = NONE_ALLOWED,
        disallowed_special: DisallowedSpecial = NONE_DISALLOWED,
    ) -> list[int]:
        """The ids of `text`, in plain Python: see `merge`. For bulk work take `encode_array` or `encode_batch`."""
        ids: list[int] = []
        for part, number in special.parts(text, self.special_tokens, allowed_special, disallowed_special):
            if number is None:
                self._encode_ordinary(part, ids)
            else:
                ids.append(number)
        return ids

    def _encode_ordinary(self, text: str, ids: list[int]) -> None:
        for piece in self._split(text):
            known = self._cache.get(piece)
            if known is None:
                known = self._encode_piece(piece)
            ids += known

    def _encode_piece(self, piece: str) -> list[int]:
        piece_bytes = piece.encode()
        whole = self.ranks.get(piece_bytes)
        ids = [whole] if whole is not None else [self.ranks[token] for token in merge(piece_bytes, self.ranks)]
        if len(piece) <= CACHE_LONGEST:
            if len(self._cache) >= CACHE_ENTRIES:
                self._cache.clear()
            self._cache[piece] = ids
        return ids

    def encode_array(
        self,
        text: str,
        allowed_special: AllowedSpecial = NONE_ALLOWED,
        disallowed_special: DisallowedSpecial = NONE_DISALLOWED,
    ) -> np.ndarray:
        """The ids that `encode` gives, as uint32, from tiktoken's Rust core: the same ranks, without the GIL."""
        arrays = [
            self._encode_by_core(part) if number is None else np.array([number], np.uint32)
            for part, number in special.parts(text, self.special_tokens, allowed_special, disallowed_special)
        ]
        return arrays[0] if len(arrays) == 1 else np.concatenate([np.empty(0, np.uint32), *arrays])

    def _encode_by_core(self, text: str) -> np.ndarray:
        try:
            return self._core.encode_to_numpy(text, disallowed_special=())
        except ValueError:
            # Its regular expressions backtrack on a stack of fixed size: 100,000 spaces are too many. Ours do not.
            ids: list[int] = []
            self._encode_ordinary(text, ids)
            return np.array(ids, np.uint32)

    def encode_batch(
        self,
        texts: Sequence[str],
        allowed_special: AllowedSpecial = NONE_ALLOWED,
        threads: int | None = None,
        disallowed_special: DisallowedSpecial = NONE_DISALLOWED,
    ) -> list[list[int]]:
        """The ids of each text by `encode_array`, on `threads` threads at once (None: one per core)."""
        check_texts(texts)

        def encode(text: str) -> np.ndarray:
            return self.encode_array(text, allowed_special, disallowed_special)

        threads = min(threads or os.cpu_count() or 1, len(texts))
        if threads <= 1:
            return [encode(text).tolist() for text in texts]
        _ = self._core  # built once, before the threads ask for it
        with ThreadPoolExecutor(threads) as pool:
            return [ids.tolist() for ids in pool.map(encode, texts)]

    def safe_cut(self, text: str) -> int:
        return cuts.settled(text, self.pattern, self._split)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        try:
            return b"".join([self._bytes_of[number] for number in map(index, ids)])  # JAX's and PyTorch's numbers, too
        except KeyError as error:
            raise ValueError(
                f"id {error.args[0]} has no token in {self.name!r}; its ids lie in 0…{self.vocab_size - 1}"
            ) from None

    def token_to_id(self, token: str | bytes) -> int | None:
        if isinstance(token, bytes):
            # No special token holds a surrogate, so bytes that are not UTF-8 spell none.
            return self.ranks.get(token, self.special_tokens.get(token.decode(errors="surrogateescape")))
        if token in self.special_tokens:
            return self.special_tokens[token]
        try:
            return self.ranks.get(tokenizer_json.to_bytes(token))
        except KeyError:
            return None

    def id_to_token(self, number: int) -> str | None:
        number = index(number)
        if number in self._special_of or number not in self._bytes_of:
            return self._special_of.get(number)
        return tokenizer_json.to_characters(self._bytes_of[number])

    def with_special_tokens(self, added: Sequence[str]) -> "BytePairTokenizer":
        special_tokens = special.grown(self.special_tokens, added, self.vocab_size)
        if clash := [token for token in added if self.token_to_id(token) is not None]:
            raise ValueError(
                f"{clash[0]!r} spells an ordinary token of {self.name!r} already: tokenizer.json holds one"
            )
        made = BytePairTokenizer(self.ranks, self.pattern, special_tokens, borders=self.borders)
        made.chat = self.chat
        return made

    def save(self, directory: str | Path, model_max_length: int | None = None) -> None:
        """Writes `tokenizer.json` and `tokenizer_config.json`, which transformers and vLLM load with the same ids.

        They, unlike this class, turn text that spells a special token into that token, unless called with
        `split_special_tokens=True`.
        """
        document = saving.bpe_document(self.ranks, self.pattern, self.special_tokens)
        saving.write(directory, document, self.borders, self.special_tokens, model_max_length)
        chat_templates.save(Path(directory), self.chat)

    def save_ranks(self, path: str | Path) -> None:
        """Writes tiktoken's rank file. It holds neither the pattern nor the special tokens: keep those beside it."""
        rank_file.write(path, self.ranks)

    @cached_property
    def _core(self):
        import tiktoken

        # Special tokens are cut out before, in one place for both paths, and never allowed here. But without any,
        # tiktoken would search each text for the empty string: a third of its speed.
        special_tokens = self.special_tokens or {END_OF_TEXT: self.vocab_size}
        return tiktoken.Encoding(
            self.name, pat_str=for_tiktoken(self.pattern), mergeable_ranks=self.ranks, special_tokens=special_tokens
        )
