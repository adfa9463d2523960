"""Options of `train submit`: the resources to ask SLURM for, and the command to run."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

TIME = r"\d+(:\d\d?){0,2}|\d+-\d+(:\d\d?){0,2}|infinite|unlimited"  # what sbatch accepts

ARRAY = r"\d+(-\d+(:\d+)?)?(,\d+(-\d+(:\d+)?)?)*(%[1-9]\d*)?"

COMMANDS = ("pretrain", "prepare", "finetune", "export", "evaluate", "serve", "jupyter")


@dataclass(frozen=True)
class SubmitConfig:
    command: tyro.conf.Positional[str] = ""
    """pretrain, prepare, finetune, export, evaluate, serve or jupyter."""
    arguments: tyro.conf.Positional[tuple[str, ...]] = ()
    """Arguments of the command: positional ones here, flags after `--`."""
    nodes: int = 1
    """Number of machines."""
    gpus_per_node: int | None = None
    """GPUs on each node. Default: SBATCH_GPUS_PER_NODE of the site file, or none."""
    tasks_per_node: int | None = None
    """Processes on each node. Default: one per GPU."""
    cpus_per_task: int | None = None
    """Cores for each process. Default: the script's number, or else the cluster's."""
    time: str | None = None
    """Time limit: minutes, HOURS:MINUTES:SECONDS or DAYS-HOURS. At the limit, a training run continues in a new job."""
    partition: str | None = None
    """Partition. Default: that of the site file, or else the cluster's. The same holds for account and qos."""
    account: str | None = None
    """Account to charge."""
    qos: str | None = None
    """Quality of service."""
    array: str | None = None
    """For prepare: the numbers of the array's tasks, such as 0-31."""
    name: str | None = None
    """Job name. Default: the run's name for pretrain and finetune, else the command."""
    sbatch: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Further directives, such as --sbatch=--exclusive --sbatch=--mem=0."""
    site: Path | None = None
    """Site file. Default: slurm/site.env, if it exists."""
    dry_run: bool = False
    """Print the script and submit nothing."""

    def __post_init__(self) -> None:
        for name, least in (("nodes", 1), ("gpus_per_node", 0), ("tasks_per_node", 1), ("cpus_per_task", 1)):
            count = getattr(self, name)
            if count is not None and count < least:
                raise ValueError(f"{name} must be at least {least}; got {count}")
        if self.time is not None and not re.fullmatch(TIME, self.time, re.IGNORECASE):
            raise ValueError(f"time must be minutes, HOURS:MINUTES:SECONDS or DAYS-HOURS; got {self.time!r}")
        if self.array is not None and not re.fullmatch(ARRAY, self.array):
            raise ValueError(f"array must be numbers of tasks, such as 0-31; got {self.array!r}")
        if self.array is not None and self.command not in ("", "prepare"):
            raise ValueError(f"array is for prepare alone: {self.command} is one job, on the number of nodes you give")
