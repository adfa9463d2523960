"""Turn text into token shards and a manifest, ready to train on.

After an interrupt or a crash, the same command continues and ends with the same bytes. On a finished folder it checks
the shards and the tokenizer, and makes them again if something is missing or damaged.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from train.prepare.config import PrepareConfig

if TYPE_CHECKING:
    from rich.table import Table

    from train.data.manifest import Manifest

Options = PrepareConfig


@contextlib.contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Until the block ends, SIGTERM acts as Ctrl-C does; where Ctrl-C is ignored (`nohup`), it ends the process."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None):
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(options: Options) -> int:
    from rich.console import Console

    from train.prepare.preparation import prepare, prepare_share

    console = Console()
    if options.task is not None:
        with interrupted_by_sigterm():
            prepare_share(options, console)
        return 0
    with interrupted_by_sigterm():
        manifest = prepare(options, console)
    console.print(_table(manifest))
    if manifest.dtype == "uint32":
        console.print(f"shards of uint32: the vocabulary has {manifest.tokenizer.vocab_size:,} ids", highlight=False)
    for reason, count in manifest.left_out.items():
        console.print(f"left out, {reason}: {count:,}", highlight=False)
    console.print(f"next: python -m train pretrain gpt2-nano --data {manifest.folder}", markup=False, soft_wrap=True)
    return 0


def _table(manifest: "Manifest") -> "Table":
    from rich.table import Table

    table = Table(title=str(manifest.folder), title_justify="left")
    for column in ("split", "shards", "documents", "MB of text", "tokens", "bytes a token"):
        table.add_column(column, justify="left" if column == "split" else "right")
    for name, split in manifest.splits.items():
        n_bytes = split.bytes or 0
        shards = sum(shard.split == name for shard in manifest.shards)
        table.add_row(
            name,
            f"{shards:,}",
            f"{split.documents or 0:,}",
            f"{n_bytes / 1e6:,.1f}",
            f"{split.tokens:,}",
            f"{n_bytes / split.tokens:.3f}",
        )
    return table
