"""Plain text whose documents are separated by a given string, as TinyStories' are by <|endoftext|>."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_jax.files.content import UTF8, Form
from llm_jax.tokenizer.protocol import check_text
from train.prepare.slices import BadRow, Slice, decode, listing, read_at, refusing

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class DividedText:
    """The text between two separators is a document. A line break before or after a separator belongs to it."""

    paths: tuple[Path, ...]
    given: tuple[str, ...]
    separator: str
    slice_bytes: int
    forms: Mapping[Path, Form] = field(default_factory=dict)
    separated = True

    def __post_init__(self) -> None:
        if not self.separator:
            raise ValueError("--document-separator is empty; expected a text, such as '<|endoftext|>'")
        try:
            check_text(self.separator)
        except ValueError as error:
            raise ValueError(f"--document-separator: {error}") from None

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "divided text",
            "given": list(self.given),
            "separator": self.separator,
            **listing(self.paths),
        }

    def slices(self) -> Iterator[Slice]:
        """Reads each file once from its beginning, because overlapping matches of the separator must be resolved."""
        for path in self.paths:
            form = self.forms.get(path, UTF8)
            start = 0
            for stop, is_end in _ends(path, form, self.separator.encode()):
                if stop > start and (is_end or stop - start >= self.slice_bytes):
                    yield Slice(str(path), start, stop, stop - start)
                    start = stop

    def read(self, piece: Slice) -> Iterator[str]:
        return refusing(self.rows(piece))

    def rows(self, piece: Slice) -> Iterator[str | BadRow]:
        path = Path(piece.path)
        form = self.forms.get(path, UTF8)
        separator, offset = self.separator.encode(), piece.start
        documents = read_at(path, form, piece.start, piece.stop - piece.start).split(separator)
        for index, raw in enumerate(documents):
            is_last = index == len(documents) - 1
            if not is_last or raw.strip():  # after the last separator, white space alone is not a document
                try:
                    text = decode(raw, path, offset, form)
                    yield _without_breaks(text, before=offset > 0, after=not is_last)
                except ValueError as error:
                    yield BadRow(str(error))
            offset += len(raw) + len(separator)

    def place(self, piece: Slice, index: int) -> str:
        return f"{piece.path}, document {index + 1:,} after byte {piece.start:,}"


def _without_breaks(text: str, before: bool, after: bool) -> str:
    for end in ("\r\n", "\n"):
        if before and text.startswith(end):
            text, before = text.removeprefix(end), False
        if after and text.endswith(end):
            text, after = text.removesuffix(end), False
    return text


def _ends(path: Path, form: Form, separator: bytes) -> Iterator[tuple[int, bool]]:
    """The end of each separator (with False), then the end of the text (with True), in bytes."""
    start, kept = 0, b""  # `kept` begins at byte `start`, and may hold the beginning of a separator
    while block := read_at(path, form, start + len(kept), BLOCK_BYTES):
        block, at = kept + block, 0
        while (match := block.find(separator, at)) >= 0:
            at = match + len(separator)
            yield start + at, False
        at = max(at, len(block) - len(separator) + 1)
        start, kept = start + at, block[at:]
    yield start + len(kept), True
