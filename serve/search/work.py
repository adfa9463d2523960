"""The steps of `serve search`: the model, the index brought up to date, the answers."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from llm_jax.command_line import interrupts
from llm_jax.hf import encoder
from llm_jax.hf.sentences import Embedder
from serve.search import index as indexes
from serve.search.config import SearchConfig
from serve.search.index import Changes, Index
from serve.search.searching import Searcher

NAMED = 3  # files in a message


def open_searcher(config: SearchConfig, console: Console) -> Searcher:
    """A searcher over the folder. Raises OSError or ValueError with a message for the user."""
    config.check()
    embedder = Embedder(encoder.load(config.model))
    fingerprint = embedder.fingerprint()
    known = None if config.rebuild else indexes.load(config, fingerprint)
    if known is not None:
        changes, _ = indexes.compare(known, config)
        if changes and not config.update:
            console.print(f"the index is older than the folder: {_counted(changes)}; --update reads them", markup=False)
        if not (changes and config.update):
            return _searcher(known, embedder, config)
        console.print(f"changed since the index was made: {_counted(changes)}", markup=False, soft_wrap=True)
    columns = (TextColumn("passages"), BarColumn(bar_width=16), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=None)

        def progress(done: int, total: int) -> None:
            interrupts.check()
            bar.update(task, completed=done, total=total)

        index, changes = indexes.updated(known or Index(), config, embedder, progress)
    for name, reason in list(changes.left_out.items())[:NAMED]:
        console.print(f"left out: {name}: {reason}", markup=False, soft_wrap=True)
    if len(changes.left_out) > NAMED:
        console.print(f"left out: {len(changes.left_out) - NAMED} more files that are no text")
    searcher = _searcher(index, embedder, config)
    indexes.save(index, config, fingerprint)
    console.print(
        f"index: {len(index.names):,} passages of {len(set(index.names)):,} files in {config.place}",
        markup=False,
        soft_wrap=True,
    )
    return searcher


def _searcher(index: Index, embedder: Embedder, config: SearchConfig) -> Searcher:
    if not index.names:
        raise ValueError(f"{config.folder} holds no text to search: every file in it is empty or no text")
    return Searcher(index, embedder)


def _counted(changes: Changes) -> str:
    parts = {"new": changes.added, "changed": changes.changed, "gone": changes.removed}
    return ", ".join(
        f"{len(names)} {kind} ({', '.join(names[:NAMED])}{', …' if len(names) > NAMED else ''})"
        for kind, names in parts.items()
        if names
    )
