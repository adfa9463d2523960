"""The progress of a run: one live line in a terminal, one line every few steps in a log file."""

import math
import sys
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

DAY = 86_400  # seconds
CLOCK_TOLERANCE = 5.0  # seconds by which the clocks of two machines may differ without a remark


class StepProgress:
    """Context manager; `update` is called once for every step with its metrics."""

    def __init__(self, start: int, total: int, log_every: int, shown: bool) -> None:
        self.console = Console(quiet=not shown, soft_wrap=True)
        self._live = shown and self.console.is_terminal
        self._total, self._log_every, self._shown = total, log_every, shown
        self._progress = Progress(
            TextColumn("[bold]step {task.completed:,.0f}/{task.total:,.0f}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[numbers]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self._live,
        )
        self._task = self._progress.add_task("", total=total, completed=start, numbers="compiling…")

    def __enter__(self) -> "StepProgress":
        self._progress.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def update(self, values: dict[str, Any]) -> None:
        """Shows one step's metrics (keys of `train.record.metrics`)."""
        step = values["step"]
        numbers = describe(values)
        self._progress.update(self._task, completed=step, numbers=numbers)
        measured = values.get("val_loss") is not None
        if self._live:
            if measured:
                self.console.print(f"step {step:,}: {numbers}")
        elif self._shown and (measured or step == self._total or (self._log_every and step % self._log_every == 0)):
            left = (self._total - step) * values["seconds"] / step
            print(f"step {step:>6,}/{self._total:,}  {numbers}  left {clock(left)}", flush=True)

    def say(self, message: str) -> None:
        """Prints a message above the live line."""
        if self._live:
            self.console.print(message)
        elif self._shown:
            print(message, flush=True)


def describe(values: dict[str, Any]) -> str:
    """One line: loss, validation, learning rate, gradient norm, speed, utilisation."""
    parts = [f"loss {number(values['train_loss'], '.4f')}"]
    if values.get("val_loss") is not None:
        parts.append(f"val {values['val_loss']:.4f}")
    if values.get("val_bits_per_byte") is not None:
        parts.append(f"{values['val_bits_per_byte']:.4f} bits/byte")
    if values.get("hellaswag_character") is not None:
        parts.append(f"HellaSwag {values['hellaswag_character']:.4f} (character)")
    for name, said in (("reward_margin", "margin"), ("reward_accuracy", "accuracy"), ("accuracy", "accuracy")):
        for key, split in ((name, ""), (f"val_{name}", "val ")):
            if values.get(key) is not None:
                parts.append(f"{split}{said} {values[key]:.3f}")
    parts += [f"lr {values['lr']:.2e}", f"|g| {number(values['grad_norm'], '.2f')}"]
    parts.append(f"{values['tokens_per_second']:,.0f} tok/s")
    if values.get("mfu") is not None:
        parts.append(f"MFU {values['mfu']:.1%}")
    return "  ".join(parts)


def number(value: float | None, form: str) -> str:
    """Formats a number of the metrics; None, which stands for a number that is not finite, as "not finite"."""
    return "not finite" if value is None or not math.isfinite(value) else format(value, form)


def print_table(title: str, rows: list[tuple[str, str]]) -> None:
    """Prints a two-column table, for the start of a run."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120).print(table)


def clock(seconds: float) -> str:
    """HOURS:MINUTES:SECONDS, or whole days from two days on. Accepts any number, also NaN and infinity."""
    if not math.isfinite(seconds):
        return "an unknown time"
    if seconds < 0:
        return f"-{clock(-seconds)}"
    if seconds >= 2 * DAY:
        return f"{int(seconds // DAY):,} days"
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def ago(seconds: float) -> str:
    """How long ago something was written, by this machine's clock, which may differ from the writer's."""
    if seconds >= 0:
        return f"{clock(seconds)} ago"
    if seconds >= -CLOCK_TOLERANCE:
        return "just now"
    return f"{clock(-seconds)} ahead of this machine's clock: the two machines' clocks differ"
