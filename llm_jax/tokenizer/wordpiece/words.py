"""Text → words, as BERT does it before WordPiece (Devlin et al. 2018, `BasicTokenizer` of its code).

Control characters go, white space is a space, a Chinese character is a word of its own, accents and capitals go where
the vocabulary is `lowercase`, and every punctuation mark is a word. So decoding does not give the text back. Which
characters are marks or punctuation is what Python's edition of Unicode says; the `tokenizers` library has an older one.
"""

import unicodedata
from functools import cache

# CJK ideographs by BERT's table; Japanese kana and Korean are not among them.
_CHINESE = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


def split_words(text: str, lowercase: bool) -> list[str]:
    """The words of `text`, without the spaces between them."""
    text = "".join(map(_cleaned, text))
    if lowercase:
        # Letter by letter: of a whole word Python makes the last Σ another letter than the tokenizers library.
        text = "".join(c.lower() for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    return "".join(f" {c} " if _is_punctuation(c) else c for c in text).split()


@cache
def _cleaned(character: str) -> str:
    if character in "\t\n\r" or unicodedata.category(character) == "Zs":
        return " "
    if character in "\0\ufffd" or unicodedata.category(character) in ("Cc", "Cf", "Co"):
        return ""
    return f" {character} " if any(first <= ord(character) <= last for first, last in _CHINESE) else character


@cache
def _is_punctuation(character: str) -> bool:
    """ASCII's signs count too, those that Unicode calls symbols such as $ and ^ among them."""
    is_ascii_sign = "!" <= character <= "~" and not character.isalnum()
    return is_ascii_sign or unicodedata.category(character).startswith("P")
