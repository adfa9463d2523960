"""One edition of Unicode for two regular expression engines.

A vocabulary's ids depend on which characters are letters, and that changes every September. Python's `regex` and the
Rust core of tiktoken carry their own editions: late in 2026 they disagree about 17,560 characters, the Sidetic and Seal
scripts among them, and so would cut the same text differently. What tiktoken says is what the published vocabularies
mean. So a character on which the two disagree is shown to `regex` as a stand-in: an old character of the class that
tiktoken's core sees.
"""

from functools import cache

import regex

# Every class that a published pattern names, and an old character of that class which no pattern names literally.
_STAND_INS = {
    r"\p{Lu}": "Ω",
    r"\p{Ll}": "ω",
    r"\p{Lt}": "ǅ",
    r"\p{Lm}": "ʰ",
    r"\p{Lo}": "א",
    r"\p{M}": "\u0301",
    r"\p{N}": "²",
    r"\s": "\u2003",
}
_NO_CLASS_STAND_IN = "\uffff"

_seen: set[str] = set()
_table: dict[int, str] = {}


def with_stand_ins(text: str) -> str:
    """`text` with each disputed character replaced; the same length, and the same object where there is none."""
    if text.isascii():
        return text
    characters = set(text)
    if new := characters - _seen:
        _table.update(_disputed("".join(new)))
        _seen.update(new)
    return text.translate(_table) if any(ord(character) in _table for character in characters) else text


def _disputed(characters: str) -> dict[int, str]:
    ours = dict.fromkeys(characters, _NO_CLASS_STAND_IN)
    theirs = ours.copy()
    for pattern, stand_in in _STAND_INS.items():
        ours.update(dict.fromkeys(regex.findall(pattern, characters), stand_in))
        theirs.update(dict.fromkeys(_members_by_tiktoken(pattern, characters), stand_in))
    return {ord(c): stand_in for c, stand_in in theirs.items() if stand_in != ours[c]}


def _members_by_tiktoken(pattern: str, characters: str) -> str:
    # tiktoken leaves out what its pattern does not match, so this keeps exactly the members of the class.
    return bytes(_single_bytes(pattern).encode_ordinary(characters)).decode()


@cache
def _single_bytes(pattern: str):
    import tiktoken

    ranks = {bytes([byte]): byte for byte in range(256)}
    return tiktoken.Encoding(pattern, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
