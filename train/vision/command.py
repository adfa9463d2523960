"""Teach a small language model to see, in several ways, on the same pictures and with the same compute.

pipeline: words, then answers. early: patches as tokens. embedded: patches' vectors in the decoder's positions (LLaVA).
cross: cross-attention (Flamingo). contrastive: pictures and words in one space (CLIP), which names and answers nothing.
Every table has what guessing, not looking, and looking at another picture would get. Writes RUNS/RUN with figures,
pictures, a page of mistakes and, of `embedded`, a model that `serve export` and `serve api` take.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from train.vision.config import Fusion, VisionRunConfig


@dataclass(frozen=True)
class Options:
    fusion: tuple[Fusion, ...] = ("pipeline", "early", "embedded")
    """Ways to train, in this order."""
    data: str = "embedded"
    """Digits to compose pictures of: embedded (8×8), mnist (downloaded once), or a folder of idx files; or easy-vqa."""
    config: Annotated[VisionRunConfig, tyro.conf.arg(name="")] = field(default_factory=VisionRunConfig)
    run: str = "vision"
    """Name of the run; its folder is RUNS/RUN. A finished run replaces an older one of that name."""
    runs: Path = Path("runs")
    """Folder of all runs."""


def main(options: Options) -> int:
    """Trains, prints the tables and writes the run."""
    from llm_jax import backend

    backend.configure()
    from rich.console import Console

    from llm_jax.files.json_files import write_json
    from llm_jax.runs import SUMMARY
    from train.record.replace import replace_run
    from train.vision import leaving, report, work

    if not options.fusion:
        raise ValueError("--fusion needs at least one way: pipeline, early, embedded, cross or contrastive")
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    progress = Console(stderr=True, highlight=False)

    def said(stage: str, step: int, steps: int, loss: float) -> None:
        if step == steps or step % 200 == 0:
            progress.print(f"{stage}, step {step:,}/{steps:,}, loss {loss:.4f}", style="dim", markup=False)

    with replace_run(options.runs, options.run, "vision") as folder:
        record, kept = work.work(options.data, options.fusion, options.config, said)
        report.show(console, record)
        left = leaving.write_all(folder, record, kept)
        write_json(folder / SUMMARY, record)
    console.print(f"{options.runs / options.run}: {', '.join([SUMMARY, *left])}", markup=False, soft_wrap=True)
    return 0
