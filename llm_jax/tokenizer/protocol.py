"""What every tokenizer of this code base can do, whatever algorithm is behind it.

A tokenizer is a value: a vocabulary and a rule, fixed once built. Its `fingerprint` depends on what it does and not on
the file it came from, so shards, checkpoints and exports compare fingerprints to know that they speak of the same ids.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from llm_jax.tokenizer.borders import Borders

END_OF_TEXT = "<|endoftext|>"

AllowedSpecial = AbstractSet[str] | Literal["all"]
NONE_ALLOWED: frozenset[str] = frozenset()


@runtime_checkable
class Tokenizer(Protocol):
    """Text ↔ token ids. `decode(encode(text)) == text` for every text that can be written as UTF-8.

    Text that looks like a special token is ordinary text unless that token is in `allowed_special` (or it is "all"):
    a document from the web cannot end itself by spelling `<|endoftext|>`. Hugging Face's default is the opposite.
    """

    @property
    def name(self) -> str:
        """For people: 'gpt2', 'bpe-4096', …"""
        ...

    @property
    def vocab_size(self) -> int:
        """The largest id plus one: the rows that an embedding table needs (`n_vocab` in tiktoken).

        cl100k_base and o200k_base leave some ids below it unused.
        """
        ...

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """Tokens that stand outside the text, and their ids."""
        ...

    @property
    def borders(self) -> Borders:
        """Which ids begin, end and pad a text, as the tokenizer's and the model's files say."""
        ...

    @property
    def end_of_text(self) -> int | None:
        """The id that ends a document, `borders.end`; None where there is none."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 in hexadecimal over everything that decides which ids a text gets."""
        ...

    def encode(self, text: str, allowed_special: AllowedSpecial = NONE_ALLOWED) -> list[int]:
        """The ids of `text`. ValueError for a lone surrogate or a special token that does not exist."""
        ...

    def encode_array(self, text: str, allowed_special: AllowedSpecial = NONE_ALLOWED) -> np.ndarray:
        """The same ids as a uint32 array, by the fastest way there is: for bulk work."""
        ...

    def encode_batch(
        self,
        texts: Sequence[str],
        allowed_special: AllowedSpecial = NONE_ALLOWED,
        threads: int | None = None,
    ) -> list[list[int]]:
        """The ids of each text, by the fastest way there is, on `threads` threads (None: one per core)."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; bytes that are not UTF-8 become U+FFFD. ValueError for an id that has no token."""
        ...

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of `ids`, exactly. ValueError for an id that has no token."""
        ...

    def save(self, directory: str | Path, model_max_length: int | None = None) -> None:
        """Writes the `tokenizer.json` and `tokenizer_config.json` that Hugging Face and vLLM read.

        `model_max_length` is the longest sequence, in tokens, of the model that goes with it.
        """
        ...


def check_text(text: str) -> None:
    """Refuses what has no UTF-8 form. A lone surrogate is half a character, left by a faulty JSON or UTF-16 decoder."""
    if not isinstance(text, str):
        raise TypeError(f"text must be a str; got {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"lone surrogate U+{ord(text[error.start]):04X} at position {error.start}: the text has no UTF-8 form; "
            "repair its source, or replace it with text.encode('utf-8', 'replace').decode()"
        ) from None


def resolve_special(special_tokens: Mapping[str, int], allowed: AllowedSpecial) -> AbstractSet[str]:
    """The special tokens that may be recognised; ValueError for a name that is none."""
    if allowed == "all":
        return special_tokens.keys()
    if isinstance(allowed, str):
        raise TypeError(f'allowed_special must be a set of strings or "all"; got the string {allowed!r}')
    if unknown := set(allowed) - special_tokens.keys():
        raise ValueError(f"no such special token: {sorted(unknown)}; there are {sorted(special_tokens) or 'none'}")
    return allowed
