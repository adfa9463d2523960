"""The names of files in a run's folder, `runs/NAME`.

config.json      model, training config, data and tokenizer of the run's last start; a folder with it is a run
tokenizer/       the tokenizer's files
checkpoints/     see llm_jax.checkpoint
data/            shards, if the run was given plain text
reference/       DPO: log-probabilities under the starting parameters
metrics.jsonl    one line for each step; tensorboard/ and loss.png show the same numbers
samples.txt      text that the model generated during training
confusion.png    of a classifier: which classes it takes for which
rewards.png      of preferences: how far chosen and rejected answers move apart
summary.json     the results, for runs that finish in one command
model/           of `train vision`: the model that sees, in Hugging Face's format
hf/              the export to Hugging Face format; adapter/: that of LoRA's adapters alone, in PEFT's
"""

import re
from pathlib import Path
from typing import Any

from llm_jax.files.json_files import read_json

FORMAT = 1  # of config.json
CONFIG = "config.json"
TOKENIZER = "tokenizer"
CHECKPOINTS = "checkpoints"
DATA = "data"
METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"
LOSS_PLOT = "loss.png"
SAMPLES = "samples.txt"
CONFUSION = "confusion.png"
REWARDS = "rewards.png"
REFERENCE = "reference"
SUMMARY = "summary.json"
VISION_MODEL = "model"
EXPORT = "hf"
ADAPTER = "adapter"


def folder_of(runs: Path, name: str) -> Path:
    """The folder of the run called `name`.

    Raises:
        ValueError: `name` is not a plain folder name.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(f"a run's name is made of letters, digits, '.', '_' and '-'; got {name!r}")
    return runs / name


def read_config(run: Path) -> dict[str, Any]:
    """The content of `config.json`.

    Raises:
        FileNotFoundError: `run` is not a run.
        ValueError: the file cannot be read, or is of another version.
    """
    path = run / CONFIG
    if not path.is_file():
        problem = f"it has no {CONFIG}" if run.is_dir() else "there is no such folder"
        raise FileNotFoundError(
            f"{run} is not a run: {problem}; expected a folder that `python -m train pretrain` wrote, such as runs/NAME"
        )
    try:
        content = read_json(path)
        written_as = content["format"]
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"{path} is not the config of a run ({error!r}): restore it from a copy, or train again"
        ) from None
    if written_as != FORMAT:
        raise ValueError(
            f"{path} is of format {written_as}; this version of llm-jax reads format {FORMAT}: use the version "
            "that wrote it"
        )
    return content


def batch_tokens(run: Path) -> int:
    """Tokens in a step of the run.

    Raises:
        FileNotFoundError, ValueError: as `read_config`.
    """
    return int(read_config(run)["training"]["batch_tokens"])


def refuse_no_text_model(run: Path, record: dict[str, Any]) -> None:
    """Raises ValueError for a run of `train finetune` that sorts texts into classes, by the content of its config."""
    if record.get("task") == "classify":
        labels = ", ".join(map(str, record.get("labels") or ()))
        raise ValueError(
            f"{run} sorts texts into classes ({labels}) and cannot write: it has no head for tokens. Use a run "
            "that was trained on text"
        )


def is_lora(run: Path) -> bool:
    """Whether a run holds LoRA's adapters instead of a whole model. Raises as `read_config`."""
    return bool(read_config(run).get("lora"))


def is_run(folder: Path) -> bool:
    """Whether `folder` holds the checkpoints of a run. An export does not."""
    return (folder / CHECKPOINTS).is_dir()
