r"""Cutting text into pre-tokens: pieces that no merge may join.

Without them, "dog", "dog." and "dog!" would each earn a token of their own (Radford et al. 2019, section 2.2). The
three patterns are those of OpenAI's GPT-2 (r50k_base and p50k_base, too), cl100k_base (GPT-3.5, GPT-4) and o200k_base
(GPT-4o). What they have in common: a space belongs to the word after it; letters, digits and signs are separated; a
contraction such as 's is cut off. `\s+(?!\S)` leaves the last of several spaces to the word that follows.
"""

import string
from collections.abc import Callable

import regex

from llm_jax.tokenizer.bpe.unicode_classes import with_stand_ins

Splitter = Callable[[str], list[str]]

_SPACES = r"|\s+(?!\S)|\s+"

GPT2_PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+""" + _SPACES

CL100K_PATTERN = (
    r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"""
    r"""| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+""" + _SPACES
)

_O200K_HEAD = r"[^\r\n\p{L}\p{N}]?"
_O200K_UPPER, _O200K_LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_O200K_TAIL = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K_PATTERN = (
    rf"{_O200K_HEAD}{_O200K_UPPER}*{_O200K_LOWER}+{_O200K_TAIL}"
    rf"|{_O200K_HEAD}{_O200K_UPPER}+{_O200K_LOWER}*{_O200K_TAIL}"
    r"""|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+""" + _SPACES
)

_PATTERNS = (GPT2_PATTERN, CL100K_PATTERN, O200K_PATTERN)

# tiktoken's own spellings of the first two: with their vocabularies they give the same ids.
_PUBLISHED = {
    r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s""": GPT2_PATTERN,
    (
        r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"""
        r"""| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"""
    ): CL100K_PATTERN,
}


def published(pattern: str) -> str:
    """A known pattern in the spelling that fingerprints and files use; any other pattern unchanged."""
    return _PUBLISHED.get(pattern, pattern)


def for_tiktoken(pattern: str) -> str:
    """The spelling to hand to tiktoken's Rust core: the same pieces as `splitter(pattern)` gives.

    fancy-regex, which the core uses, steps through a pattern with lookahead one instruction at a time, but hands an
    alternative without any whole to a finite automaton. With all but the spaces in one alternative, GPT-2's
    pattern takes half the time of tiktoken's own spelling.
    """
    if pattern in _PATTERNS:
        return f"(?:{pattern.removesuffix(_SPACES)}){_SPACES}"
    return _covering(pattern)


def splitter(pattern: str) -> Splitter:
    """A function that cuts a text into its pre-tokens; joined, they are the text.

    Raises ValueError for a pattern that is not a regular expression, that matches the empty string, or that is verbose.
    """
    try:
        if pattern not in _PATTERNS:
            _check(pattern)
        compiled = regex.compile(pattern if pattern in _PATTERNS else _covering(pattern))
    except regex.error as error:
        raise ValueError(f"the split pattern {pattern!r} is not a regular expression: {error}") from None

    def split(text: str) -> list[str]:
        shown = with_stand_ins(text)
        if shown is text and not compiled.groups:  # findall would return the groups
            return compiled.findall(text)
        return [text[match.start() : match.end()] for match in compiled.finditer(shown)]

    return split


def _check(pattern: str) -> None:
    """Raises ValueError for a pattern that `_covering` cannot complete, regex.error for one that is none."""
    compiled = regex.compile(pattern)
    if compiled.flags & regex.VERBOSE:  # what `_covering` appends would become part of a comment
        raise ValueError(f"the split pattern {pattern!r} is verbose, (?x); write it without spaces and comments")
    # `(?=a)|b+` matches the empty string only before an "a": so all kinds of characters are tried, and the pattern.
    characters = dict.fromkeys(string.printable + "\u00e9\u4e2d\u00b2\u0301" + pattern)
    probe = pattern + "".join(f"\n{character} {character}{character}" for character in characters)
    if any(match.start() == match.end() for text in ("", probe) for match in compiled.finditer(text)):
        raise ValueError(f"the split pattern {pattern!r} matches the empty string; each pre-token needs a character")


def _covering(pattern: str) -> str:
    """Makes pieces of what `pattern` leaves out, as Hugging Face's "Isolated" does; tiktoken would drop it."""
    return rf"{pattern}|(?:(?!{pattern})[\s\S])+"
