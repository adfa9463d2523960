"""Settings of a measurement of fertility."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Every field is also a flag of `train fertility`."""

    reference: str = ""
    """Text that premiums refer to. Default: the first; none: no premiums, and texts need not be translations."""
    words: tuple[str, ...] = ("spaces",)
    """Where words are: spaces, segmenter (Thai, Lao, Khmer, Chinese, Japanese; needs the extra `words`), or files of
    the same lines with a space between words, each FILE or NAME=FILE."""
    price: tuple[str, ...] = ()
    """Dollars for a million tokens: one number, or NAME=NUMBER for each tokenizer."""
    context: int = 8192
    """Tokens of the context that shares refer to."""
    sentences: int = 30
    """First lines whose tokens the page shows."""

    def check(self) -> None:
        """Raises ValueError for a number out of range."""
        if self.context < 1:
            raise ValueError(f"--context must be at least 1 token; got {self.context}")
        if self.sentences < 1:
            raise ValueError(f"--sentences must be at least 1; got {self.sentences}")
        if not self.words:
            raise ValueError("--words needs spaces, segmenter or files; leave it out for spaces")

    def prices(self, tokenizers: Sequence[str]) -> dict[str, float]:
        """Dollars a million tokens, by tokenizer. Raises ValueError for what is no price, or of no tokenizer."""
        found: dict[str, float] = {}
        for entry in self.price:
            name, separator, number = entry.rpartition("=")
            if separator and name not in tokenizers:
                raise ValueError(f"--price {entry}: no tokenizer is named {name!r}; there are {', '.join(tokenizers)}")
            try:
                dollars = float(number)
            except ValueError:
                dollars = math.nan
            if not 0 <= dollars < math.inf:
                raise ValueError(f"--price {entry}: expected dollars for a million tokens, such as 2.50 or gpt2=2.50")
            found |= dict.fromkeys([name] if separator else tokenizers, dollars)
        return found


def named(entry: str, is_there: bool) -> tuple[str | None, str]:
    """(name, rest) of NAME=REST; no name where the entry as it stands `is_there`."""
    name, separator, rest = entry.partition("=")
    return (name, rest) if separator and name and not is_there else (None, entry)
