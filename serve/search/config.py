"""Settings of `serve search`."""

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class SearchConfig:
    folder: tyro.conf.Positional[Path]
    """Folder of text files, read with all folders in it. Names that begin with a dot are left out."""

    model: Path = Path("sentence-transformers/all-MiniLM-L6-v2")
    """A sentence encoder: its directory, or owner/name on the hub."""

    index: Path | None = None
    """Folder of the index. Default: search/ and the folder's name."""

    k: int = 5
    """Passages shown for each question."""

    characters: int = 700
    """Length of a passage: paragraphs are joined up to it, longer ones are cut at a sentence or a space."""

    update: bool = True
    """Read files again that were changed, added or removed since the index was made; otherwise only say so."""

    rebuild: bool = False
    """Make the index again, whatever is there."""

    @property
    def place(self) -> Path:
        return self.index or Path("search") / self.folder.resolve().name

    def check(self) -> None:
        """Raises ValueError for a number out of range, OSError for a folder that is not there."""
        if not 1 <= self.k <= 1000:
            raise ValueError(f"--k must lie between 1 and 1,000; got {self.k}")
        if not 100 <= self.characters <= 100_000:
            raise ValueError(f"--characters must lie between 100 and 100,000; got {self.characters}")
        if not self.folder.is_dir():
            raise NotADirectoryError(f"{self.folder}: there is no such folder to search")
