"""What the user is told about the text: documents without text, rows that were skipped, and text that spells a special
token.

Each part keeps what was found in its unit, so that a preparation that was interrupted, or shared out, knows all of it.
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
    blank: int = 0  # documents that are empty or all white space: dropped
    bad: list[str] = field(default_factory=list)  # rows that cannot be read: where and why; skipped
    spelled: dict[str, list[Any]] = field(default_factory=dict)  # special token → documents, the place of the first

    def note_specials(self, text: str, names: Iterable[str], place: str) -> None:
        """Counts a document under each special token that it spells."""
        for name in names:
            if name in text:
                self.spelled.setdefault(name, [0, place])[0] += 1

    def add(self, other: "Findings") -> None:
        """`other` comes after what is here."""
        self.blank += other.blank
        self.bad += other.bad
        for name, (count, place) in other.spelled.items():
            self.spelled.setdefault(name, [0, place])[0] += count

    def left_out(self) -> dict[str, int]:
        """How many documents and rows are missing from the tokens, by reason; without reasons that did not occur."""
        counts = {"documents without text": self.blank, f"bad rows, listed in {SKIPPED}": len(self.bad)}
        return {reason: count for reason, count in counts.items() if count}

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Findings":
        return Findings(**json.loads(text))

    def say(self, source: "Source") -> None:
        """Warns of special tokens in the text, which are not tokenized as such."""
        plain = source.describe()["kind"] in ("text files", "running text")
        for name, (count, place) in self.spelled.items():
            cure = f"if it divides documents, give prepare --document-separator '{name}'"
            if not plain:
                cure = "if that is not meant, take it out of the text"
            who = f"{count:,} documents spell" if source.separated and count > 1 else "the text spells"
            logger.warning("%s: %s the special token %s, which becomes ordinary tokens; %s", place, who, name, cure)


def special_names(tokenizer: Tokenizer) -> tuple[str, ...]:
    """What a text should not spell: the tokenizer's special tokens, and the usual end of a text."""
    return tuple(dict.fromkeys([END_OF_TEXT, *tokenizer.special_tokens]))
