"""Options of `train critique`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro


@dataclass(frozen=True)
class CritiqueConfig:
    files: tyro.conf.Positional[tuple[str, ...]]
    """Files, globs or folders of documents: parquet, JSON lines, or text."""
    text_column: str = "text"
    """Column of the text in parquet and JSON lines."""
    label: str = ""
    """Column by which removals are compared, such as language, source or dialect. Default: `language`, if there is one.
    Text files: the part of a file's name before the first dot."""
    lines: int = 0
    """Text files: number of lines that are one document. 0: a file is one document."""
    limit: int = 20_000
    """Documents to look at; of more, this many are drawn."""
    filters: str = "en"
    """Language whose filters to run, as in `train curate`: FineWeb's for English, FineWeb-2's for others."""
    words: Literal["language", "spaces"] = "language"
    """How the filters find words: by the word tokenizer that datatrove has for the language, or at white space."""
    tokenizer: str = "gpt2"
    """What counts tokens: gpt2, a tokenizer.json or its folder, or owner/name on the Hugging Face hub."""
    edu_threshold: float = 3
    """FineWeb-Edu's threshold on the column `int_score`, or on `score`, rounded, where a file has one."""
    duplicates: bool = True
    """Look for near-duplicates by MinHash."""
    benchmark: tuple[Path, ...] = ()
    """Benchmark files (parquet or JSONL, as `serve evaluate --data` takes) to look for in the documents."""
    choices: tuple[str, ...] = ()
    """Files of choices (`serve evaluate --log-choices`, and others; NAME=FILE) on the first benchmark file, for the
    accuracy on clean and dirty items."""
    train: str = ""
    """Filter or rule by its name: train a small model with and without it, and compare bits per byte. Minutes."""
    train_tokens: int = 1_000_000
    """Tokens (bytes) that every such model sees."""
    seeds: int = 3
    """Models for each side of that comparison."""
    examples: int = 10
    """Removed documents to show for each rule."""
    seed: int = 0
    """Of whatever is drawn."""
    workers: int = 0
    """Processes that measure documents. 0: one for each core."""
    out: Path = Path("critique")
    """Folder for critique.json and critique.html."""

    def check(self) -> None:
        """Raises ValueError for an option out of range."""
        for name, least in (("lines", 0), ("limit", 1), ("train_tokens", 10_000), ("seeds", 2), ("examples", 0)):
            if (value := getattr(self, name)) < least:
                raise ValueError(f"--{name.replace('_', '-')} must be at least {least:,}; got {value}")
        if self.workers < 0:
            raise ValueError(f"--workers must not be negative; got {self.workers}")
        if self.choices and not self.benchmark:
            raise ValueError("--choices needs the data file of its items: --benchmark FILE")
