"""The names inside a run's folder, `runs/NAME`.

config.json      model, training config, data and tokenizer, as the run was last started; a folder with one is a run
tokenizer/       as the tokenizer saves itself
checkpoints/     see llm_jax.checkpoint
data/            shards, where the run was given plain text
metrics.jsonl    one line for each step; tensorboard/ and loss.png show the same
samples.txt      text that the model generated during training
summary.json     the results, for runs that finish in one command
hf/              the export to Hugging Face format
"""

import re
from pathlib import Path

FORMAT = 1  # of config.json
CONFIG = "config.json"
TOKENIZER = "tokenizer"
CHECKPOINTS = "checkpoints"
DATA = "data"
METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"
LOSS_PLOT = "loss.png"
SAMPLES = "samples.txt"
SUMMARY = "summary.json"
EXPORT = "hf"


def folder_of(runs: Path, name: str) -> Path:
    """The folder of the run called `name`. Raises ValueError for a name that is not a plain folder name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(f"a run's name is made of letters, digits, '.', '_' and '-'; got {name!r}")
    return runs / name


def is_run(folder: Path) -> bool:
    """Whether `folder` holds the checkpoints of a run, rather than an export or anything else."""
    return (folder / CHECKPOINTS).is_dir()
