"""Findings about the text that are printed: blank documents, skipped rows, and documents that spell a special token.

Each part stores the findings of its unit, so an interrupted preparation, or one divided among tasks, knows them all.
"""

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from llm_jax.tokenizer.protocol import END_OF_TEXT, Tokenizer

if TYPE_CHECKING:
    from train.prepare.slices import Source

logger = logging.getLogger(__name__)

SKIPPED = "skipped_rows.txt"


@dataclass
class Findings:
    """Counts and places for the documents of one unit, or of several."""

    blank: int = 0  # documents that are empty or only white space; they are dropped
    bad: list[str] = field(default_factory=list)  # rows that cannot be read, with place and reason; they are skipped
    spelled: dict[str, list[Any]] = field(default_factory=dict)  # special token → [documents, place of the first]

    def note_specials(self, text: str, names: Iterable[str], place: str) -> None:
        """Counts a document under each special token that it spells."""
        for name in names:
            if name in text:
                self.spelled.setdefault(name, [0, place])[0] += 1

    def add(self, other: "Findings") -> None:
        """Adds the findings of later units."""
        self.blank += other.blank
        self.bad += other.bad
        for name, (count, place) in other.spelled.items():
            self.spelled.setdefault(name, [0, place])[0] += count

    def left_out(self) -> dict[str, int]:
        """How many documents and rows are not among the tokens, by reason. Reasons with a count of 0 are absent."""
        counts = {"documents without text": self.blank, f"bad rows, listed in {SKIPPED}": len(self.bad)}
        return {reason: count for reason, count in counts.items() if count}

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Findings":
        return Findings(**json.loads(text))

    def warn(self, source: "Source") -> None:
        """Warns if the text spells special tokens, which are tokenized as ordinary text."""
        is_plain_text = source.describe()["kind"] in ("text files", "running text")
        for name, (count, place) in self.spelled.items():
            cure = f"if it separates documents, give prepare --document-separator '{name}'"
            if not is_plain_text:
                cure = "if that is not intended, remove it from the text"
            subject = f"{count:,} documents spell" if source.separated and count > 1 else "the text spells"
            logger.warning("%s: %s the special token %s, which becomes ordinary tokens; %s", place, subject, name, cure)


def special_names(tokenizer: Tokenizer) -> tuple[str, ...]:
    """Strings that a text should not contain: the tokenizer's special tokens and `<|endoftext|>`."""
    return tuple(dict.fromkeys([END_OF_TEXT, *tokenizer.special_tokens]))
