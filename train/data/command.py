"""Check every shard of a folder: header, size, token count, hash and range of ids; and that the tokenizer is theirs.

Reads every byte (with --sample N, of N shards, and of the others header and size), uses no results of earlier checks,
and names each file at fault; the exit status is 1 if there is one. A folder without manifest.json (llm.c's or
build-nanogpt's shards) is checked for all but token count, hash and tokenizer.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from train.data.config import VerifyConfig

if TYPE_CHECKING:
    from rich.table import Table

    from train.data.integrity import Verdict

Options = VerifyConfig


def main(options: Options) -> int:
    from rich.console import Console
    from rich.progress import Progress

    from train.data.integrity import verify
    from train.data.tokenizer import verify_tokenizer

    console = Console(highlight=False)
    with Progress(console=console, transient=True) as progress:
        files = options.folder.iterdir() if options.folder.is_dir() else ()
        total = None if options.sample else sum(file.stat().st_size for file in files if file.is_file())
        task = progress.add_task("reading", total=total)
        verdicts = verify(
            options.folder,
            options.vocab_size,
            lambda n_bytes: progress.advance(task, n_bytes),
            options.token_dtype,
            options.sample,
        )
    console.print(_table(options.folder, [one for one in verdicts if one.facts or one.fault]))
    faults = [verdict.fault for verdict in verdicts if verdict.fault]
    others = [fault] if (fault := verify_tokenizer(options.folder)) else []
    for fault in (*faults, *others):
        console.print(f"fault: {fault}", markup=False, soft_wrap=True)
    read = [verdict.facts.tokens for verdict in verdicts if verdict.facts]
    unread = sum(not verdict.facts and not verdict.fault for verdict in verdicts)
    headers = f"; of {unread:,} others, header and size are sound" if unread else ""
    n_sound = len(verdicts) - len(faults) - unread
    console.print(f"{n_sound} of {len(verdicts) - unread} shards are sound; {sum(read):,} tokens read{headers}")
    return 1 if faults or others else 0


def _table(folder: Path, verdicts: list["Verdict"]) -> "Table":
    from rich.table import Table

    table = Table("shard", "split", title=str(folder), title_justify="left")
    for column in ("tokens", "largest id"):
        table.add_column(column, justify="right")
    table.add_column("sha256")
    table.add_column("verdict")
    for verdict in verdicts:
        facts = verdict.facts
        numbers = (f"{facts.tokens:,}", f"{facts.largest_id:,}", facts.sha256[:16]) if facts else ("", "", "")
        table.add_row(verdict.name, verdict.split, *numbers, "[red]FAULT[/]" if verdict.fault else "[green]sound[/]")
    return table
