"""What is done to a text before it is cut into pieces, and undone when it is decoded.

SentencePiece's steps, in its order: a Unicode form, superfluous spaces taken out, a space put before the text, spaces
written as ▁. With the form `identity`, and no spaces taken out, decoding gives the text back. NFKC rewrites characters
for good: the Thai "ำ" becomes two, "①" becomes "1".
"""

import re
import unicodedata
from dataclasses import dataclass

SPACE = "▁"
IDENTITY, NFKC = "identity", "nfkc"
FORMS = (IDENTITY, NFKC)


@dataclass(frozen=True)
class Normalization:
    form: str = IDENTITY
    """identity or nfkc."""
    removes_spaces: bool = False
    """Takes out spaces at both ends of a text, and all but one inside."""
    adds_prefix: bool = True
    """Puts a space before a text, so that its first word is the same piece as in the middle of a line."""

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ValueError(f"a normalization is one of {', '.join(FORMS)}; got {self.form!r}")

    def apply(self, text: str) -> str:
        if self.form == NFKC:
            text = unicodedata.normalize("NFKC", text)
        if self.removes_spaces:
            text = re.sub(" {2,}", " ", text.strip(" "))
        if not text:
            return ""
        text = (" " * self.adds_prefix + text).replace(" ", SPACE)
        return text.rstrip(SPACE) if self.removes_spaces else text

    def undo(self, text: str) -> str:
        """The text of joined pieces: ▁ is a space, and one before the text goes, unless it may be the text's own."""
        text = text.replace(SPACE, " ")
        return text.removeprefix(" ") if self.adds_prefix or self.removes_spaces else text
