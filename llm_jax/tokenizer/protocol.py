"""What every tokenizer of this code base can do, whatever algorithm is behind it.

A tokenizer is a value: a vocabulary and a rule, fixed once built. Its `fingerprint` depends on what it does and not on
the file it came from, so shards, checkpoints and exports compare fingerprints to know that they speak of the same ids.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from llm_jax.tokenizer.borders import Borders
from llm_jax.tokenizer.hf_files.chat_templates import ChatTemplates

END_OF_TEXT = "<|endoftext|>"

AllowedSpecial = AbstractSet[str] | Literal["all"]
DisallowedSpecial = Collection[str] | Literal["all"]
NONE_ALLOWED: frozenset[str] = frozenset()
NONE_DISALLOWED: frozenset[str] = frozenset()

Span = tuple[int, int]


@runtime_checkable
class Tokenizer(Protocol):
    """Text ↔ token ids. `decode(encode(text)) == text` for every text that can be written as UTF-8.

    Foreign tokenizers are the exception: some change Unicode forms, spaces, and characters that they cannot write.

    Text that looks like a special token is ordinary text unless that token is in `allowed_special` (or it is "all"):
    a document from the web cannot end itself by spelling `<|endoftext|>`. Hugging Face's default is the opposite. Text
    that must not spell one at all is refused with `disallowed_special`: a set of strings, or "all" for every special
    token that is not allowed. Both parameters mean what they mean in tiktoken, whose default of the second is "all".

    One token has three forms: its id; its bytes; and its spelling in Hugging Face's files, a `str` in which byte-level
    BPE writes each byte as a character ("Ġdog" for b" dog"). A special token is spelled as in text.
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
    def chat(self) -> ChatTemplates | None:
        """The chat templates beside it; None where there are none."""
        ...

    @property
    def files(self) -> Mapping[str, bytes]:
        """By name, the files of a foreign tokenizer, which `save` copies; our own are written anew."""
        ...

    @property
    def parts_at_special(self) -> bool:
        """Whether the ids of a text are those of its parts between special tokens, each encoded by itself."""
        ...

    @property
    def end_of_text(self) -> int | None:
        """The id that ends a document, `borders.end`; None where there is none."""
        ...

    @property
    def merges(self) -> list[tuple[bytes, bytes]]:
        """The pairs that were merged, in order; empty where the algorithm merges nothing."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 in hexadecimal over everything that decides which ids a text gets."""
        ...

    def encode(
        self,
        text: str,
        allowed_special: AllowedSpecial = NONE_ALLOWED,
        disallowed_special: DisallowedSpecial = NONE_DISALLOWED,
    ) -> list[int]:
        """The ids of `text`.

        Raises:
            ValueError: for a surrogate, a disallowed special token, or an allowed one that does not exist.
        """
        ...

    def encode_array(
        self,
        text: str,
        allowed_special: AllowedSpecial = NONE_ALLOWED,
        disallowed_special: DisallowedSpecial = NONE_DISALLOWED,
    ) -> np.ndarray:
        """The same ids as a uint32 array, by the fastest way there is: for bulk work."""
        ...

    def encode_batch(
        self,
        texts: Sequence[str],
        allowed_special: AllowedSpecial = NONE_ALLOWED,
        threads: int | None = None,
        disallowed_special: DisallowedSpecial = NONE_DISALLOWED,
    ) -> list[list[int]]:
        """The ids of each text, by the fastest way there is, on `threads` threads (None: one per core)."""
        ...

    def encode_iterable(
        self,
        pieces: Iterable[str],
        allowed_special: AllowedSpecial = NONE_ALLOWED,
        disallowed_special: DisallowedSpecial = NONE_DISALLOWED,
    ) -> Iterator[int]:
        """The ids of the joined `pieces` (lines of a file, parts of a download), one by one, as they become certain.

        The memory used does not grow with the text, only with its longest pre-token; see `safe_cut` for the exception.
        """
        ...

    def encode_with_offsets(
        self,
        text: str,
        allowed_special: AllowedSpecial = NONE_ALLOWED,
        disallowed_special: DisallowedSpecial = NONE_DISALLOWED,
    ) -> tuple[list[int], list[Span]]:
        """The ids of `text` and for each its (start, stop): the token stands for the characters `text[start:stop]`.

        A token that holds a part of a character spans the whole of it, so the tokens of one split character overlap.
        These are the offsets that Hugging Face's tokenizers give.
        """
        ...

    def safe_cut(self, text: str) -> int:
        """An n so that encode(text[:n]) + encode(text[n:] + more) == encode(text + more) for whatever comes next.

        Special tokens aside. 0 where no such place is found: always, for a split pattern of which nothing is known.
        """
        ...

    def token_to_id(self, token: str | bytes) -> int | None:
        """The id of one token, given its spelling or its bytes; None where it is no token."""
        ...

    def id_to_token(self, number: int) -> str | None:
        """The spelling of one token; None for an id that has no token."""
        ...

    def token_bytes(self, number: int) -> bytes:
        """The bytes that one token, a special one too, adds behind others. ValueError for an id that has no token.

        At the beginning of a text SentencePiece's tokens leave out a space: `decode_bytes` knows where it begins.
        """
        ...

    def with_special_tokens(self, added: Sequence[str]) -> "Tokenizer":
        """A new tokenizer that knows the `added` special tokens as well, with ids from `vocab_size` on.

        This one stays as it is, and the new one has its `borders`: `with_borders` makes an added token an end. Raises
        ValueError for a token that is there already.
        """
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


def check_texts(texts: Iterable[str]) -> None:
    """Raises TypeError for a single text, whose letters would be taken for texts."""
    if isinstance(texts, str):
        raise TypeError("texts must be an iterable of strings, one a document; got a single str")


def check_text(text: str) -> None:
    """Refuses what has no UTF-8 form, and says how to repair it.

    Raises:
        ValueError: for a surrogate, which is half of a character outside the first 65,536. A whole pair can be joined;
            of a lone half the other is lost.
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a str; got {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(_about_surrogates(text)) from None


_PAIR_OR_HALF = re.compile("[\ud800-\udbff][\udc00-\udfff]|[\ud800-\udfff]")


def _about_surrogates(text: str) -> str:
    """What is wrong with `text`, and the cure that keeps all that can be kept."""
    found = re.finditer(_PAIR_OR_HALF, text)
    pair = next(found)
    lone = pair if len(pair[0]) == 1 else next((half for half in found if len(half[0]) == 1), None)
    join = "text.encode('utf-16', 'surrogatepass').decode('utf-16')"
    if lone is None:
        high, low = map(ord, pair[0])
        character = pair[0].encode("utf-16", "surrogatepass").decode("utf-16")
        return (
            f"surrogate pair U+{high:04X} U+{low:04X} at position {pair.start()}: a faulty JSON or UTF-16 decoder left "
            f"the halves of U+{ord(character):04X} apart, so the text has no UTF-8 form; {join} joins them"
        )
    replace = f"{join[:-1]}, 'replace')"
    message = (
        f"lone surrogate U+{ord(lone[0]):04X} at position {lone.start()}: half a character, so the text has no UTF-8 "
        f"form; repair its source, or put U+FFFD in its place and keep everything else with {replace}"
    )
    if "\udc80" <= lone[0] <= "\udcff":
        byte = ord(lone[0]) - 0xDC00
        message += (
            f"; if it stands for the byte 0x{byte:02X} of a command line or file name that is not UTF-8, "
            "text.encode('utf-8', 'surrogateescape') gives the bytes back"
        )
    return message
