"""Files → texts of lines, one sentence a line.

Files of one folder that differ in their suffix alone, such as khm_Khmr.dev and khm_Khmr.devtest, are parts of one text.
`whole` is what is counted: every line break is a space, and so is the border between two parts, as in the published
totals of FLORES-200 (tokenization_lengths.csv of Petrov et al. 2023, arXiv 2305.15425).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from llm_jax.files.content.streams import read_text
from train.fertility.config import named


@dataclass(frozen=True)
class Text:
    name: str
    files: tuple[Path, ...]
    parts: tuple[tuple[str, ...], ...]  # lines of each file

    @cached_property
    def lines(self) -> tuple[str, ...]:
        return tuple(line for part in self.parts for line in part)

    @cached_property
    def whole(self) -> str:
        return " ".join("".join(f"{line} " for line in part) for part in self.parts)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Where each line begins in `whole`."""
        found, place = [], 0
        for part in self.parts:
            for line in part:
                found.append(place)
                place += len(line) + 1
            place += 1
        return tuple(found)

    @cached_property
    def sentences(self) -> int:
        return sum(bool(line.strip()) for line in self.lines)


def read_all(entries: Sequence[str]) -> list[Text]:
    """The texts of FILE or NAME=FILE, in their order.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is a folder, holds nothing, or is no UTF-8; or two texts have one name.
    """
    if not entries:
        raise ValueError("give at least one file of text, one sentence a line, such as flores200/*.devtest")
    groups: dict[str, list[Path]] = {}
    folders: dict[str, Path | None] = {}
    for entry in entries:
        name, rest = named(entry, Path(entry).exists())
        path = Path(rest)
        folder = None if name else path.parent.absolute()
        name = name or path.stem
        if folders.setdefault(name, folder) != folder:
            raise ValueError(f"two texts are named {name!r}, the second is {path}: give NAME=FILE to tell them apart")
        if path in groups.setdefault(name, []):
            raise ValueError(f"{path} is there twice: name it once")
        groups[name].append(path)
    return [Text(name, tuple(paths), tuple(_lines(path) for path in paths)) for name, paths in groups.items()]


def _lines(path: Path) -> tuple[str, ...]:
    content = content_of(path)
    if not content.strip():
        raise ValueError(f"{path} holds no text: give a file of sentences, one a line")
    return tuple(content.removesuffix("\n").split("\n"))


def content_of(path: Path) -> str:
    """The text of a file. Raises FileNotFoundError and ValueError in one line with the cure."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; check its name")
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name its files, such as {path}/*")
    try:
        return read_text(path).replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}, line {line}: {error.reason} (byte 0x{error.object[error.start]:02x}), so it is not UTF-8: "
            "convert it with iconv -f ITS-ENCODING -t UTF-8"
        ) from None


def reference_of(texts: Sequence[Text], wanted: str) -> Text | None:
    """The text that premiums refer to, the first unless one is wanted; None with `none`, or of one text alone.

    Raises ValueError where it is not there, or where another text does not hold the same sentences line by line.
    """
    if wanted.lower() == "none" or (len(texts) == 1 and not wanted):
        return None
    names = [text.name for text in texts]
    if wanted and wanted not in names:
        raise ValueError(f"--reference {wanted}: no text is named so; there are {', '.join(names)}, or none")
    reference = texts[names.index(wanted)] if wanted else texts[0]
    for text in texts:
        _check_parallel(reference, text)
    return reference


def _check_parallel(one: Text, other: Text) -> None:
    cure = "a premium needs the same sentences line by line; mend the files, or give --reference none"
    if len(one.lines) != len(other.lines):
        raise ValueError(f"{one.name} has {len(one.lines):,} lines and {other.name} {len(other.lines):,}: {cure}")
    for number, (first, second) in enumerate(zip(one.lines, other.lines, strict=True), start=1):
        if bool(first.strip()) != bool(second.strip()):
            empty, full = (one, other) if second.strip() else (other, one)
            raise ValueError(f"line {number:,} of {empty.name} is empty and that of {full.name} is not: {cure}")
