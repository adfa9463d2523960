"""Search a folder of text by meaning: `python -m serve search FOLDER --model DIRECTORY --query "…"`.

The first call reads the folder and saves an index; later ones read only what has changed. Without --query the index is
made or brought up to date. Every passage is compared with the question: the results are exact.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from serve.search.config import SearchConfig

SHOWN_LINES = 3  # of a passage


@dataclass(frozen=True)
class Options:
    folder: tyro.conf.Positional[Path]
    """Folder of text files, read with all folders in it. Names that begin with a dot are left out."""
    model: Path
    """Directory of a sentence encoder, such as all-MiniLM-L6-v2."""
    query: tuple[str, ...] = ()
    """One question or several."""
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
    json: bool = False
    """Print the passages found as JSON."""


def main(options: Options) -> int:
    import sys
    import textwrap
    from dataclasses import asdict
    from json import dumps

    from rich.console import Console

    from serve.page.text import plain
    from serve.search.work import open_searcher

    config = SearchConfig(**{name: getattr(options, name) for name in SearchConfig.__dataclass_fields__})
    if any(not query.strip() for query in options.query):
        raise ValueError("--query is empty; write a question, or leave it out to make the index alone")
    searcher = open_searcher(config, Console(stderr=True, highlight=False))
    found = searcher.search(list(options.query), options.k) if options.query else []
    if options.json:
        answers = [
            {"query": query, "found": [asdict(one) for one in best]}
            for query, best in zip(options.query, found, strict=True)
        ]
        sys.stdout.write(dumps(answers, ensure_ascii=False, indent=1) + "\n")
        return 0
    console = Console(highlight=False)
    for query, best in zip(options.query, found, strict=True):
        console.print(f"\n{plain(query)}", style="bold", markup=False, soft_wrap=True)
        for one in best:
            console.print(f"{one.score:.3f}  {plain(one.file)}:{one.line}", markup=False, soft_wrap=True)
            for part in textwrap.wrap(one.text, 100, max_lines=SHOWN_LINES, placeholder=" …"):
                console.print(f"       {plain(part)}", markup=False, soft_wrap=True)
    return 0
