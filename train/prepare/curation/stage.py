"""A stage of curation. Its files are in `.curate-OUT`, beside the output folder OUT, with a folder of logs for each."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from train.prepare.curation.config import CurationConfig

FILTER = "filter"  # the stage that removes single documents; its statistics name the rules


class Stage(NamedTuple):
    """A datatrove pipeline and the number of its tasks."""

    name: str
    steps: Sequence[Any]  # datatrove's
    tasks: int


def work_of(options: CurationConfig) -> Path:
    return options.out.absolute().with_name(f".curate-{options.out.name}")


def logs_of(options: CurationConfig, stage: str) -> Path:
    return work_of(options) / "logs" / stage


@contextlib.contextmanager
def redirect_stderr(logs: Path) -> Iterator[None]:
    """Redirects stderr to `logs/output.log`. datatrove has no setting that stops it from writing to the terminal."""
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
