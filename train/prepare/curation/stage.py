"""What a stage of curation is, and where it keeps its work: `.curate-OUT` beside OUT, a folder of logs for each."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from train.prepare.curation.config import CurationConfig

FILTER = "filter"  # the stage that removes single documents; its statistics say by which rules


class Stage(NamedTuple):
    name: str
    steps: Sequence[Any]  # of datatrove
    tasks: int


def work_of(options: CurationConfig) -> Path:
    return options.out.absolute().with_name(f".curate-{options.out.name}")


def logs_of(options: CurationConfig, stage: str) -> Path:
    return work_of(options) / "logs" / stage


@contextlib.contextmanager
def aside(logs: Path) -> Iterator[None]:
    """Sends to `output.log` of that folder what datatrove writes to the terminal, which no setting of it prevents."""
    logs.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    terminal = os.dup(2)
    try:
        with (logs / "output.log").open("ab") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(terminal, 2)
        os.close(terminal)
