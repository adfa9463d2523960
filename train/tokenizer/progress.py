"""The line that a training of a tokenizer shows while it works."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from llm_jax.command_line import interrupts

if TYPE_CHECKING:
    from llm_jax.tokenizer.unigram.train import Step


class TrainingProgress:
    """Context manager. Each method is handed to what it shows."""

    def __init__(self, console: Console, kind: str):
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=16), TextColumn("{task.fields[numbers]}"))
        self._bar = Progress(*columns, TimeElapsedColumn(), console=console)
        self._task = self._bar.add_task(kind, total=None, numbers="")
        self._kind = kind

    def __enter__(self) -> "TrainingProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def reading(self, texts: Iterable[str]) -> Iterator[str]:
        """The texts, counted as they are read."""
        n_documents = n_characters = 0
        for text in texts:
            n_documents, n_characters = n_documents + 1, n_characters + len(text)
            numbers = f"read {n_documents:,} documents, {n_characters / 1e6:,.1f} M characters"
            self._bar.update(self._task, numbers=numbers)
            yield text

    def merged(self, done: int, total: int) -> None:
        """`done` of `total` merges are learnt."""
        if done % 64 == 0 or done == total:
            interrupts.check()
            self._bar.update(self._task, total=total, completed=done, numbers=f"{done:,} of {total:,} merges")

    def pruned(self, step: "Step") -> None:
        """A round of expectation and maximisation is done."""
        interrupts.check()
        numbers = f"{step.size:,} pieces, {step.objective:.4f} nats a word"
        self._bar.update(self._task, numbers=numbers)
        if not self._bar.console.is_terminal:
            self._bar.console.print(f"{self._kind}: {numbers}", highlight=False)
