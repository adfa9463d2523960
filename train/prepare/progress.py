"""The progress line of a preparation: share done, documents, MB/s, tokens, time left."""

import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from train.prepare.slices import Unit


class Progress:
    """Context manager that shows the progress line."""

    def __init__(self, console: Console, label: str):
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TaskProgressColumn(),
            TextColumn("{task.fields[counts]}"),
            TextColumn("ETA"),
            TimeRemainingColumn(compact=True),
        )
        self._bar = Bar(*columns, console=console)
        self._task = self._bar.add_task(label, total=None, counts="")

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def start(self, units: Sequence[Unit], done: Sequence[int], counted: Sequence[int]) -> None:
        """Starts the clock. The units `done` were finished by an earlier run.

        All processes add to `counted`: documents, bytes, tokens.
        """
        self._counted = counted
        # Bytes if the source knows them; a stream counts its units.
        self._weights = [sum(max(piece.bytes, 1) for piece in unit) for unit in units]
        if done:
            self._bar.console.print(f"continuing: {len(done):,} of {len(self._weights):,} parts exist already")
        self._started = time.monotonic()
        self._bar.reset(self._task, total=sum(self._weights), completed=sum(self._weights[i] for i in done))

    def advance(self, number: int) -> None:
        """Counts unit `number` as done."""
        self._bar.advance(self._task, self._weights[number])
        self.refresh()

    def refresh(self) -> None:
        documents, n_bytes, tokens = self._counted
        rate = n_bytes / 1e6 / max(time.monotonic() - self._started, 1e-9)
        counts = f"{documents:,} documents {rate:.1f} MB/s {tokens:,} tokens"
        self._bar.update(self._task, counts=counts)
