"""What one fine-tuning run is, as one frozen value. No JAX is imported here.

Units are in the docstrings, which are also the command line's help.
"""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from llm_jax.adapters.config import LoraConfig
from llm_jax.config import Execution, from_dict
from train.cluster.mesh import MeshConfig, micro_batches
from train.finetune.data.config import DataConfig
from train.optim.config import OptimizerConfig, ScheduleConfig
from train.pretrain.config import Cadence

FULL_RATE, LORA_RATE = 2e-5, 2e-4  # usual peaks; adapters begin at zero and train stably with a larger one


@dataclass(frozen=True)
class ObjectiveConfig:
    """The loss of preferences; next tokens and classes have nothing to set."""

    preference: Literal["dpo", "ipo"] = "dpo"
    """Preferences: DPO (Rafailov et al. 2023) or IPO (Azar et al. 2023)."""
    beta: float = 0.1
    """Preferences: how much a log-probability may move from the starting parameters'; larger: less."""
    sft_weight: float = 0.0
    """Preferences: weight of the chosen answers' own loss, in nats per token, added to each pair's (RPO)."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < math.inf:
            raise ValueError(f"beta must be a number above 0; got {self.beta}: 0.1 is usual")
        if not 0 <= self.sft_weight < math.inf:
            raise ValueError(f"sft_weight must be a number, 0 or more; got {self.sft_weight}")


@dataclass(frozen=True)
class FinetuneConfig:
    """A run: data, objective, what is trained, optimizer, batch, length and cadence."""

    data: DataConfig = DataConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    execution: Execution = Execution()
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=FULL_RATE, beta_2=0.999, weight_decay=0.0)
    schedule: ScheduleConfig = ScheduleConfig(warmup_steps=10)
    mesh: MeshConfig = MeshConfig()
    cadence: Cadence = Cadence(eval_every=50, sample_every=0, checkpoint_every=100)
    epochs: float = 3.0
    """Passes over the examples, where --steps gives no number."""
    steps: int = 0
    """Optimizer steps; 0: as many as --epochs makes."""
    batch_size: int = 8
    """Examples per step, over all devices and micro-batches: rows, or pairs of rows of preferences."""
    micro_batch: int = 0
    """Examples that one device computes at once; 0: all of its share (no accumulation)."""
    packing: bool = False
    """Several examples in one row of the longest length, each attending to itself alone: less padding."""
    seed: int = 1337
    """Seed of fresh adapters and heads, order of the examples, and dropout."""
    lora: tyro.conf.Suppress[LoraConfig | None] = None
    """None: all parameters are trained. On the command line: --lora and --lora.NAME."""

    def __post_init__(self) -> None:
        if not 0 < self.epochs < math.inf:
            raise ValueError(f"epochs must be a number above 0; got {self.epochs}")
        if self.steps < 0:
            raise ValueError(f"steps must not be negative (0: by --epochs); got {self.steps}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1; got {self.batch_size}")
        if self.micro_batch < 0:
            raise ValueError(f"micro_batch must not be negative (0: no accumulation); got {self.micro_batch}")
        if self.lora and self.optimizer.optimizer == "muon":
            raise ValueError("optimizer=muon is for whole matrices and LoRA trains factors of them: use adamw")

    def micro_batches(self, batch_devices: int) -> int:
        """Micro-batches per step when `batch_devices` (data × fsdp) share the batch. Raises as `mesh.micro_batches`."""
        nearest = max(1, round(self.batch_size / batch_devices)) * batch_devices
        return micro_batches(
            self.batch_size, batch_devices, self.micro_batch, "examples", f": try --batch-size {nearest}"
        )


NESTED: dict[str, type] = {
    "data": DataConfig,
    "objective": ObjectiveConfig,
    "execution": Execution,
    "optimizer": OptimizerConfig,
    "schedule": ScheduleConfig,
    "mesh": MeshConfig,
    "cadence": Cadence,
}
FILLED = ("data", "objective", "execution", "mesh", "cadence")  # in these an older run may lack a newer setting


def to_dict(config: FinetuneConfig) -> dict[str, Any]:
    """JSON values of a config, nested as the dataclasses are."""
    return dataclasses.asdict(config)


def from_json(values: dict[str, Any]) -> FinetuneConfig:
    """The inverse of `to_dict`; raises ValueError naming an unknown or missing field."""
    nested = {name: from_dict(cls, _tuples(values[name]), fill=name in FILLED) for name, cls in NESTED.items()}
    lora = from_dict(LoraConfig, _tuples(values["lora"])) if values["lora"] else None
    return from_dict(FinetuneConfig, {**values, **nested, "lora": lora})


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


@dataclass(frozen=True)
class FinetuneOptions:
    """Where a run reads and writes."""

    run: str = ""
    """Name of the run; its folder is RUNS/NAME."""
    runs: Path = Path("runs")
    """Folder of all runs."""
    resume: bool = False
    """Go on from the newest checkpoint of this run, with its own settings where no flag says otherwise."""
    auto_resume: bool = False
    """Go on if this run has begun, begin it if not: for jobs that are requeued."""
    allow_changes: bool = False
    """With --resume: go on although batch, data, tokenizer or seed are not what the run began with."""
    show: int = 0
    """Print so many examples, with what is trained of them marked, and stop."""

    def __post_init__(self) -> None:
        if self.show < 0:
            raise ValueError(f"show must not be negative; got {self.show}")
