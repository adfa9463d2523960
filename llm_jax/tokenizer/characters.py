"""One id per character: the tokenizer of makemore's names and of nanoGPT's character-level Shakespeare.

The vocabulary is the alphabet of one text, sorted; nothing else can be written in it. It has no `<|endoftext|>`, unless
`with_special_tokens` adds one. Saved, it is a "WordLevel" model in which every character is a word, so transformers and
vLLM load it too.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from operator import index
from pathlib import Path

from llm_jax.tokenizer import special
from llm_jax.tokenizer.borders import Borders
from llm_jax.tokenizer.derived import Derived
from llm_jax.tokenizer.hf_files import chat_templates, saving, tokenizer_json
from llm_jax.tokenizer.hf_files.companions import Companions
from llm_jax.tokenizer.hf_files.tokenizer_json import OtherKind
from llm_jax.tokenizer.protocol import (
    NONE_ALLOWED,
    NONE_DISALLOWED,
    AllowedSpecial,
    DisallowedSpecial,
    check_text,
    check_texts,
)

_EACH_CHARACTER = {
    "type": "Split",
    "pattern": {"Regex": r"[\s\S]"},
    "behavior": "Isolated",
    "invert": False,
}


class CharacterTokenizer(Derived):
    """A `Tokenizer` in which the id of a character is its place in `alphabet`.

    The ids of `special_tokens` count on from the last character's, without a gap.

    >>> CharacterTokenizer.from_text("hello world").encode("hello")
    [3, 2, 4, 4, 5]
    """

    def __init__(
        self,
        alphabet: Sequence[str],
        name: str | None = None,
        borders: Borders | None = None,
        special_tokens: Mapping[str, int] | None = None,
    ):
        check_text("".join(alphabet))
        wrong = [character for character in alphabet if len(character) != 1]
        if wrong or len(set(alphabet)) != len(alphabet) or not alphabet:
            raise ValueError(f"an alphabet is a sequence of distinct characters; got {''.join(alphabet)[:80]!r}")
        self.alphabet = "".join(alphabet)
        self.special_tokens = dict(special_tokens or {})
        _check_special(self.alphabet, self.special_tokens)
        self.vocab_size = len(alphabet) + len(self.special_tokens)
        self.name = name or f"characters-{self.vocab_size}"
        self.fingerprint = _fingerprint(self.alphabet, self.special_tokens)
        self.borders = borders or Borders()  # a character can be one, a line feed for example
        self._id_of = {character: number for number, character in enumerate(alphabet)}
        self._token_of = [*alphabet, *sorted(self.special_tokens, key=lambda token: self.special_tokens[token])]

    @property
    def merges(self) -> list[tuple[bytes, bytes]]:
        return []

    @classmethod
    def from_text(cls, text: str) -> "CharacterTokenizer":
        """The tokenizer whose alphabet is every character of `text`, in order of code point."""
        check_text(text)
        return cls(sorted(set(text)))

    def __repr__(self) -> str:
        return f"<CharacterTokenizer {self.name!r}: {self.alphabet[:80]!r}>"

    def encode(
        self,
        text: str,
        allowed_special: AllowedSpecial = NONE_ALLOWED,
        disallowed_special: DisallowedSpecial = NONE_DISALLOWED,
    ) -> list[int]:
        """The ids of `text`. Raises ValueError naming the first character that is not in the alphabet."""
        ids: list[int] = []
        position = 0
        for part, number in special.parts(text, self.special_tokens, allowed_special, disallowed_special):
            if number is None:
                ids += self._encode_characters(part, position)
            else:
                ids.append(number)
            position += len(part)
        return ids

    def _encode_characters(self, text: str, position: int) -> list[int]:
        try:
            return [self._id_of[character] for character in text]
        except KeyError as error:
            character = error.args[0]
            raise ValueError(
                f"character {character!r} (U+{ord(character):04X}) at position {position + text.index(character)} is "
                f"not among the {len(self.alphabet)} characters of {self.name!r}: {self.alphabet[:80]!r}"
            ) from None

    def encode_batch(
        self,
        texts: Sequence[str],
        allowed_special: AllowedSpecial = NONE_ALLOWED,
        threads: int | None = None,
        disallowed_special: DisallowedSpecial = NONE_DISALLOWED,
    ) -> list[list[int]]:
        """The ids of each text. Looking up a character holds the GIL, so `threads` changes nothing."""
        check_texts(texts)
        return [self.encode(text, allowed_special, disallowed_special) for text in texts]

    def safe_cut(self, text: str) -> int:
        """The whole length: a character's id does not depend on its neighbours."""
        return len(text)

    def decode(self, ids: Iterable[int]) -> str:
        ids = list(map(index, ids))
        if wrong := [number for number in ids if not 0 <= number < self.vocab_size]:
            raise ValueError(f"id {wrong[0]} has no character in {self.name!r}; its ids are 0…{self.vocab_size - 1}")
        return "".join([self._token_of[number] for number in ids])

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return self.decode(ids).encode()

    def token_to_id(self, token: str | bytes) -> int | None:
        if isinstance(token, bytes):
            token = token.decode(errors="surrogateescape")  # bytes that are not UTF-8 are then no token
        return self.special_tokens.get(token, self._id_of.get(token))

    def id_to_token(self, number: int) -> str | None:
        number = index(number)
        return self._token_of[number] if 0 <= number < self.vocab_size else None

    def with_special_tokens(self, added: Sequence[str]) -> "CharacterTokenizer":
        special_tokens = special.grown(self.special_tokens, added, self.vocab_size)
        made = CharacterTokenizer(self.alphabet, borders=self.borders, special_tokens=special_tokens)
        made.chat = self.chat
        return made

    def save(self, directory: str | Path, model_max_length: int | None = None) -> None:
        """Writes `tokenizer.json` and `tokenizer_config.json`; Hugging Face, too, refuses an unknown character."""
        model = {"type": "WordLevel", "vocab": self._id_of | self.special_tokens, "unk_token": "<unk>"}
        content = saving.document(model, _EACH_CHARACTER, {"type": "Fuse"}, self.special_tokens)
        saving.write(directory, content, self.borders, self.special_tokens, model_max_length)
        chat_templates.save(Path(directory), self.chat)


def _check_special(alphabet: str, special_tokens: Mapping[str, int]) -> None:
    special.grown({}, special_tokens, 0)  # refuses a faulty spelling
    if clash := [token for token in special_tokens if len(token) == 1 and token in alphabet]:
        raise ValueError(f"{clash[0]!r} is a character of the alphabet: give the special token a spelling of its own")
    expected = list(range(len(alphabet), len(alphabet) + len(special_tokens)))
    if sorted(special_tokens.values()) != expected:
        raise ValueError(
            f"the ids of special tokens count on from the last character's, {len(alphabet) - 1}; "
            f"got {dict(special_tokens)}"
        )


def _fingerprint(alphabet: str, special_tokens: Mapping[str, int]) -> str:
    lines = [f"\n{number} special {json.dumps(token)}" for token, number in sorted(special_tokens.items())]
    return hashlib.sha256(f"characters 1\n{alphabet}{''.join(lines)}".encode()).hexdigest()


def parse_characters(content: dict, files: Companions) -> tuple[list[str], dict[str, int]]:
    """(alphabet, special tokens) in the content of a `tokenizer.json`. Raises OtherKind for another kind."""
    tokenizer_json.refuse_changes_to_text(content, files)
    special_tokens = tokenizer_json.read_special_tokens(content, files)
    vocabulary = {
        token: number for token, number in content["model"]["vocab"].items() if special_tokens.get(token) != number
    }
    if content.get("pre_tokenizer") != _EACH_CHARACTER:
        raise OtherKind("a WordLevel vocabulary that is not one of characters")
    alphabet = sorted(vocabulary, key=lambda character: (str(type(vocabulary[character])), vocabulary[character]))
    if [vocabulary[character] for character in alphabet] != list(range(len(alphabet))):
        raise ValueError(f"the ids of the characters must be 0…{len(alphabet) - 1}, each once")
    return alphabet, special_tokens
