"""Search a folder of text by meaning: `python -m serve search FOLDER --query "…"`.

The first call reads the folder and saves an index; later ones read only what has changed. Without --query the index is
made or brought up to date. Every passage is compared with the question: the results are exact.
"""

from dataclasses import dataclass

from serve.search.config import SearchConfig

SHOWN_LINES = 3  # of a passage


@dataclass(frozen=True)
class Options(SearchConfig):
    query: tuple[str, ...] = ()
    """One question or several."""
    json: bool = False
    """Print the passages found as JSON."""


def main(options: Options) -> int:
    import sys
    import textwrap
    from dataclasses import asdict
    from json import dumps

    from rich.console import Console

    from llm_jax.files.page.text import plain
    from serve.search.work import open_searcher

    if any(not query.strip() for query in options.query):
        raise ValueError("--query is empty; write a question, or leave it out to make the index alone")
    searcher = open_searcher(options, Console(stderr=True, highlight=False))
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
