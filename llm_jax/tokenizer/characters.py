"""One id per character: the tokenizer of makemore's names and of nanoGPT's character-level Shakespeare.

The vocabulary is the alphabet of one text, sorted; nothing else can be written in it, and it has no `<|endoftext|>`.
Saved, it is a "WordLevel" model in which every character is a word, so transformers and vLLM load it too.
"""

import hashlib
from collections.abc import Iterable, Sequence
from operator import index
from pathlib import Path

import numpy as np

from llm_jax.tokenizer import saving, tokenizer_json
from llm_jax.tokenizer.borders import Borders
from llm_jax.tokenizer.protocol import NONE_ALLOWED, AllowedSpecial, check_text, resolve_special

_EACH_CHARACTER = {
    "type": "Split",
    "pattern": {"Regex": r"[\s\S]"},
    "behavior": "Isolated",
    "invert": False,
}


class CharacterTokenizer:
    """A `Tokenizer` in which the id of a character is its place in `alphabet`.

    >>> CharacterTokenizer.from_text("hello world").encode("hello")
    [3, 2, 4, 4, 5]
    """

    special_tokens: dict[str, int] = {}  # noqa: RUF012 - none, ever

    def __init__(self, alphabet: Sequence[str], name: str | None = None, borders: Borders | None = None):
        check_text("".join(alphabet))
        wrong = [character for character in alphabet if len(character) != 1]
        if wrong or len(set(alphabet)) != len(alphabet) or not alphabet:
            raise ValueError(f"an alphabet is a sequence of distinct characters; got {''.join(alphabet)[:80]!r}")
        self.alphabet = "".join(alphabet)
        self.name = name or f"characters-{len(alphabet)}"
        self.vocab_size = len(alphabet)
        self.fingerprint = hashlib.sha256(b"characters 1\n" + self.alphabet.encode()).hexdigest()
        self.borders = borders or Borders()  # a character can be one, a line feed for example
        self._id_of = {character: number for number, character in enumerate(alphabet)}

    @property
    def end_of_text(self) -> int | None:
        return self.borders.end

    @classmethod
    def from_text(cls, text: str) -> "CharacterTokenizer":
        """The tokenizer whose alphabet is every character of `text`, in order of code point."""
        return cls(sorted(set(text)))

    def __repr__(self) -> str:
        return f"<CharacterTokenizer {self.name!r}: {self.alphabet[:80]!r}>"

    def encode(self, text: str, allowed_special: AllowedSpecial = NONE_ALLOWED) -> list[int]:
        """The ids of `text`. Raises ValueError naming the first character that is not in the alphabet."""
        check_text(text)
        resolve_special(self.special_tokens, allowed_special)
        try:
            return [self._id_of[character] for character in text]
        except KeyError as error:
            character = error.args[0]
            raise ValueError(
                f"character {character!r} (U+{ord(character):04X}) at position {text.index(character)} is not among "
                f"the {self.vocab_size} characters of {self.name!r}: {self.alphabet[:80]!r}"
            ) from None

    def encode_array(self, text: str, allowed_special: AllowedSpecial = NONE_ALLOWED) -> np.ndarray:
        return np.array(self.encode(text, allowed_special), np.uint32)

    def encode_batch(
        self,
        texts: Sequence[str],
        allowed_special: AllowedSpecial = NONE_ALLOWED,
        threads: int | None = None,
    ) -> list[list[int]]:
        """The ids of each text. Looking up a character holds the GIL, so `threads` changes nothing."""
        return [self.encode(text, allowed_special) for text in texts]

    def decode(self, ids: Iterable[int]) -> str:
        ids = list(map(index, ids))
        if wrong := [number for number in ids if not 0 <= number < self.vocab_size]:
            raise ValueError(f"id {wrong[0]} has no character in {self.name!r}; its ids are 0…{self.vocab_size - 1}")
        return "".join([self.alphabet[number] for number in ids])

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return self.decode(ids).encode()

    def save(self, directory: str | Path, model_max_length: int | None = None) -> None:
        """Writes `tokenizer.json` and `tokenizer_config.json`; Hugging Face, too, refuses an unknown character."""
        model = {"type": "WordLevel", "vocab": self._id_of, "unk_token": "<unk>"}
        content = saving.document(model, _EACH_CHARACTER, {"type": "Fuse"}, self.special_tokens)
        saving.write(directory, content, self.borders, self.special_tokens, model_max_length)


def parse_characters(content: dict) -> list[str]:
    """The alphabet in the content of a `tokenizer.json`. Raises ValueError if it has none."""
    tokenizer_json.refuse_changes_to_text(content)
    vocabulary = content["model"]["vocab"]
    if content.get("pre_tokenizer") != _EACH_CHARACTER or content.get("added_tokens"):
        raise ValueError("a WordLevel vocabulary that is not one of characters")
    alphabet = sorted(vocabulary, key=lambda character: (str(type(vocabulary[character])), vocabulary[character]))
    if [vocabulary[character] for character in alphabet] != list(range(len(alphabet))):
        raise ValueError(f"the ids of the characters must be 0…{len(alphabet) - 1}, each once")
    return alphabet
