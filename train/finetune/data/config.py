"""What fine-tuning reads, and how examples are made of it."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

Kind = Literal["instructions", "chats", "completions", "preferences", "labelled"]
TEMPLATES = ("auto", "model", "chatml", "alpaca", "llama3", "plain")


@dataclass(frozen=True)
class DataConfig:
    files: Annotated[tuple[str, ...], tyro.conf.arg(name="data")] = ()
    """Files, globs or folders (JSON, JSON lines, CSV, TSV, parquet, Arrow, also compressed; told by their contents), a
    folder that `datasets` saved, or hf:NAME (a dataset on the Hugging Face hub; hf:NAME:CONFIG where it has several
    configurations)."""

    val_files: Annotated[tuple[str, ...], tyro.conf.arg(name="val-data")] = ()
    """The same, for validation. Default: a share of --data (--val-fraction)."""

    val_fraction: float = 0.05
    """Share of the examples for validation, where there is no --val-data. Equal examples are never divided. 0: none."""

    data_seed: int = 0
    """Chooses which examples are for validation."""

    kind: Literal["auto", "instructions", "chats", "completions", "preferences", "labelled"] = "auto"
    """What a row is: instructions (instruction, input, output), chats (messages, or ShareGPT's conversations),
    completions (prompt, completion), preferences (chosen and rejected, with a prompt or an instruction), labelled
    (text, label). auto: by the names of the columns."""

    columns: tuple[str, ...] = ()
    """Columns of other names, as NAME=COLUMN, such as text=sms label=class."""

    header: tuple[str, ...] = ()
    """Names of the columns of a CSV or TSV table whose first line is a row, in order, such as: label text."""

    fill: tuple[str, ...] = ()
    """NAME=VALUE: writes VALUE wherever a text holds {{NAME}}."""

    template: str = "auto"
    """How a conversation is written: model (the model's own chat template), chatml, alpaca, llama3, plain (prompt and
    answer as they stand), or a .jinja file. auto: the model's own; where there is none, alpaca for instructions, plain
    for texts of prompt and answer, and a refusal for chats."""

    train_on: Literal["assistant", "all"] = "assistant"
    """Which tokens are trained: what the assistant writes, with the token that ends its turn, or all."""

    max_length: int | None = None
    """Tokens of an example; a longer one is cut at its end. Default: the model's context."""

    strict: bool = False
    """Refuse an example that is left without anything to train on, instead of dropping and counting it."""

    skip_bad_rows: int = 0
    """How many rows that cannot be used (an empty answer, an unknown role, broken JSON) may be left out. One more is an
    error."""

    dataset_split: str = "train"
    """Split to read of hf:NAME, or of a folder with several."""

    val_split: str | None = None
    """The same of --val-data. Default: the first that is there of validation, valid, val, dev, eval and test; never the
    training split."""

    def __post_init__(self) -> None:
        if not 0 <= self.val_fraction < 1:
            raise ValueError(f"--val-fraction must be at least 0 and below 1; got {self.val_fraction}")
        if self.val_split is not None and not self.val_files:
            raise ValueError(f"--val-split {self.val_split} is a split of --val-data, which is not given")
        if self.max_length is not None and self.max_length < 2:
            raise ValueError(
                f"--max-length must be at least 2 tokens, one to read and one to write; got {self.max_length}"
            )
        if self.template not in TEMPLATES and not self.template.endswith(".jinja"):
            raise ValueError(f"--template {self.template}: expected one of {', '.join(TEMPLATES)}, or a .jinja file")
        for flag, pairs in (("columns", self.columns), ("fill", self.fill)):
            for pair in pairs:
                if not re.fullmatch(r"\w+=.*", pair, re.DOTALL):
                    raise ValueError(f"--{flag} {pair}: expected NAME={'COLUMN' if flag == 'columns' else 'VALUE'}")

    @property
    def column_of(self) -> dict[str, str]:
        """The column under which each renamed field is found."""
        return dict(pair.split("=", 1) for pair in self.columns)
