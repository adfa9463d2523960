"""Options of `train architectures`. No JAX is imported here."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import tyro

Task = Literal["copy", "reversal", "g2p", "cloze", "spam", "compare"]

# Options that only some tasks read. Another task refuses them, so that none is ignored in silence.
READ_BY: dict[str, tuple[Task, ...]] = {
    "data": ("g2p", "spam", "compare"),
    "dev": ("g2p", "compare"),
    "test": ("g2p", "compare"),
    "text": ("cloze", "compare"),
    "encoder": ("spam",),
    "steps": ("copy", "reversal", "g2p", "cloze", "spam"),
    "batch": ("copy", "reversal", "g2p", "cloze", "spam"),
    "d_model": ("copy", "reversal", "g2p", "cloze"),
    "n_layers": ("copy", "reversal", "g2p", "cloze"),
    "norm": ("copy", "reversal", "g2p"),
    "dropout": ("copy", "reversal", "g2p", "cloze", "spam"),
    "beams": ("copy", "reversal", "g2p"),
    "alpha": ("copy", "reversal", "g2p"),
    "seeds": ("spam", "compare"),
    "minutes": ("compare",),
}


@dataclass(frozen=True)
class ArchitecturesConfig:
    task: tyro.conf.Positional[Task]
    """copy, reversal: sequences made by code. g2p: words → phonemes, from --data. cloze: masked words of a text. spam:
    a classifier of texts, from --data. compare: encoder, encoder–decoder and decoder on three tasks."""

    data: Path | None = None
    """g2p, compare: training pairs, TSV, `word TAB phonemes with spaces between`. spam: `label TAB text`."""
    dev: Path | None = None
    """g2p, compare: pairs that choose the best parameters. Default: a twentieth of --data."""
    test: Path | None = None
    """g2p, compare: pairs for the last figure. Default: a tenth of --data."""
    text: Path | None = None
    """cloze, compare: a text in UTF-8. Default: Python's standard library."""
    encoder: Path | None = None
    """spam: the encoder to begin with, such as runs/cloze/hf."""
    run: str = ""
    """Name of the run; its folder is RUNS/NAME. Default: the task's name. When it is done, it replaces an older one."""
    runs: Path = Path("runs")
    """Folder of all runs."""
    steps: int | None = None
    """Optimizer steps. Default: the task's own."""
    batch: int | None = None
    """Pairs, windows or texts in a step. Default: the task's own."""
    d_model: int | None = None
    """Width of the model; heads are 32 wide. Default: the task's own."""
    n_layers: int | None = None
    """Blocks of the encoder, and as many of the decoder where there is one. Default: the task's own."""
    norm: Literal["post", "pre"] | None = None
    """Where the norms stand. Default: post, as in the paper."""
    dropout: float | None = None
    """Share of the numbers that are set to zero in training. Default: the task's own."""
    beams: int | None = None
    """Beams of the second measurement; the first is greedy. Default: 5."""
    alpha: float | None = None
    """Exponent of the length penalty. Default: 0.6."""
    seeds: int | None = None
    """spam, compare: how often everything is trained, each time with another seed. Default: 3."""
    minutes: float | None = None
    """compare: training time on two cores, all models, tasks and seeds together. Default: 12."""
    seed: int = 0
    """The first seed: of initial parameters, order, dropout and masks."""
    quick: bool = False
    """A tiny model and few steps, to see that everything runs; its figures mean nothing."""

    def __post_init__(self) -> None:
        for field in fields(self):
            tasks = READ_BY.get(field.name)
            if tasks and self.task not in tasks and getattr(self, field.name) is not None:
                flag = field.name.replace("_", "-")
                raise ValueError(f"--{flag} has no meaning for {self.task}; it is read by {', '.join(tasks)}")
        for name in ("steps", "batch", "n_layers", "beams", "seeds"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be at least 1; got {value}")
        if self.d_model is not None and (self.d_model < 32 or self.d_model % 32):
            raise ValueError(f"--d-model must be a multiple of 32, the width of a head; got {self.d_model}")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ValueError(f"--dropout must lie in [0, 1); got {self.dropout}")
        if self.alpha is not None and not 0 <= self.alpha <= 10:
            raise ValueError(f"--alpha must lie in [0, 10]; got {self.alpha}")
        if self.minutes is not None and not 0 < self.minutes <= 10_000:
            raise ValueError(f"--minutes must be above 0; got {self.minutes}")
        if self.seed < 0:
            raise ValueError(f"--seed must not be negative; got {self.seed}")
        if self.data is None and self.task in ("g2p", "spam"):
            what = "words and their phonemes" if self.task == "g2p" else "labels and texts"
            raise ValueError(f"{self.task} needs --data FILE: {what}, a tab between")
        if self.data is None and (self.dev or self.test):
            raise ValueError("--dev and --test need --data, the pairs to train on")
        if self.task == "spam" and self.encoder is None:
            raise ValueError("spam needs --encoder FOLDER: `train architectures cloze` writes one to runs/cloze/hf")
        for name in ("data", "dev", "test", "text", "encoder"):
            path = getattr(self, name)
            if path is not None and not path.exists():
                raise FileNotFoundError(f"--{name} {path}: there is no such file")

    @property
    def run_name(self) -> str:
        return self.run or self.task
