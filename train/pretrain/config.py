"""What one training run is, as one frozen value; `train.pretrain.presets` names a few. No JAX is imported here.

Units are in the docstrings, which are also the command line's help.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_jax.config import DecoderConfig, Execution, from_dict
from train.cluster.mesh import MeshConfig, micro_batches
from train.data.shards import BareIds
from train.optim.config import OptimizerConfig, ScheduleConfig


@dataclass(frozen=True)
class Cadence:
    """How often things happen, in steps; 0 means never (but evaluation and saving always happen at the end)."""

    log_every: int = 1
    """Steps between lines in a log that is not a terminal."""
    eval_every: int = 250
    """Steps between measurements of the validation loss."""
    sample_every: int = 1000
    """Steps between samples of text."""
    sample_tokens: int = 128
    """Tokens per sample, at most what the context leaves; 0: no samples."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    keep_last: int = 3
    """Newest checkpoints kept."""
    keep_every: int = 0
    """Checkpoints at multiples of this many steps are kept for good; 0: none."""
    max_skipped: int = 10
    """Steps in a row with a loss or gradient that is not finite, after which the run stops."""

    def __post_init__(self) -> None:
        if self.keep_last < 1:
            raise ValueError(f"keep_last must be at least 1; got {self.keep_last}")
        if self.sample_tokens < 0:
            raise ValueError(f"sample_tokens must not be negative (0: no samples); got {self.sample_tokens}")
        for name in ("log_every", "eval_every", "sample_every", "checkpoint_every", "keep_every", "max_skipped"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative (0: never); got {getattr(self, name)}")


@dataclass(frozen=True)
class CadenceConfig(Cadence):
    """Also how much is measured in pretraining."""

    eval_tokens: int = 10_485_760
    """Validation tokens per measurement, at most; the first ones of the split."""
    hellaswag_items: int = 1000
    """HellaSwag items per measurement, at most, where --hellaswag names a file; 0: all of them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.eval_tokens < 1:
            raise ValueError(f"eval_tokens must be at least 1; got {self.eval_tokens}")
        if self.hellaswag_items < 0:
            raise ValueError(f"hellaswag_items must not be negative (0: all); got {self.hellaswag_items}")


@dataclass(frozen=True)
class TrainConfig:
    """A run: model, optimizer, batch, length and cadence."""

    model: DecoderConfig = DecoderConfig()
    execution: Execution = Execution()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    mesh: MeshConfig = MeshConfig()
    cadence: CadenceConfig = CadenceConfig()
    steps: int = 19_073
    """Optimizer steps."""
    batch_tokens: int = 524_288
    """Tokens per step, over all devices and micro-batches."""
    micro_batch: int = 0
    """Sequences that one device computes at once; 0: all of its share (no accumulation)."""
    seed: int = 1337
    """Seed of initial parameters, order of the data, and samples."""
    tokenizer: str = "gpt2"
    """For data that is plain text: gpt2, characters, train:SIZE (a BPE of SIZE tokens trained on it), or a path."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1; got {self.steps}")
        if self.micro_batch < 0:
            raise ValueError(f"micro_batch must not be negative (0: no accumulation); got {self.micro_batch}")
        if self.batch_tokens < 1 or self.batch_tokens % self.model.context_length:
            nearest = max(1, round(self.batch_tokens / self.model.context_length)) * self.model.context_length
            raise ValueError(
                f"batch_tokens must be a multiple of context_length; got {self.batch_tokens} and "
                f"{self.model.context_length}: try batch_tokens={nearest}"
            )
        length, chunks = self.model.context_length, self.execution.loss_chunks
        if length % chunks:
            fitting = max(n for n in range(1, min(chunks, length) + 1) if length % n == 0)
            raise ValueError(
                f"loss_chunks must divide context_length; got {chunks} and {length}: try loss_chunks={fitting}"
            )

    def check_micro_batch(self) -> None:
        """Raises ValueError for a micro-batch that fits no number of devices, before the data is prepared."""
        if self.micro_batch and self.batch_size % self.micro_batch:
            fitting = max(n for n in range(1, self.micro_batch) if self.batch_size % n == 0)
            raise ValueError(
                f"micro_batch must divide the batch of {self.batch_size} sequences; got {self.micro_batch}: try "
                f"{fitting}"
            )

    @property
    def batch_size(self) -> int:
        """Sequences per step, over all devices and micro-batches."""
        return self.batch_tokens // self.model.context_length

    def micro_batches(self, batch_devices: int) -> int:
        """Micro-batches per step when `batch_devices` (data × fsdp) share the batch. Raises as `mesh.micro_batches`."""
        cure = f" (batch_tokens={self.batch_tokens} / context_length={self.model.context_length}): change batch_tokens"
        return micro_batches(self.batch_size, batch_devices, self.micro_batch, "sequences", cure)


NESTED: dict[str, type] = {
    "model": DecoderConfig,
    "execution": Execution,
    "optimizer": OptimizerConfig,
    "schedule": ScheduleConfig,
    "mesh": MeshConfig,
    "cadence": CadenceConfig,
}
FILLED = ("execution", "mesh", "cadence")  # how and when, not what: in these an older run may lack a newer setting


def to_dict(config: TrainConfig) -> dict[str, Any]:
    """JSON values of a config, nested as the dataclasses are."""
    return dataclasses.asdict(config)


def train_config_from_dict(values: dict[str, Any]) -> TrainConfig:
    """The inverse of `to_dict`; raises ValueError naming an unknown or missing field."""
    nested = {name: from_dict(cls, values[name], fill=name in FILLED) for name, cls in NESTED.items()}
    return from_dict(TrainConfig, {**values, **nested})


@dataclass(frozen=True)
class RunOptions:
    """Where a run reads and writes."""

    data: Path = field(default=Path("data/fineweb"))
    """Prepared folder of shards, or a text file (then prepared beside the run)."""
    token_dtype: BareIds = "none"
    """For a folder of token ids without headers (nanoGPT's train.bin and val.bin): their type; needs --vocab-size."""
    check_shards: int = 0
    """0: every shard is read through once, before the first step. Another number: only so many of those that no
    earlier start has read, chosen at random; of the others the first process checks header and size."""
    run: str = ""
    """Name of the run; its folder is RUNS/NAME. Default: the preset's name."""
    runs: Path = Path("runs")
    """Folder of all runs."""
    resume: bool = False
    """Go on from the newest checkpoint of this run, with its own settings where no flag says otherwise."""
    auto_resume: bool = False
    """Go on if this run has begun, begin it if not: for jobs that are requeued."""
    allow_changes: bool = False
    """With --resume: go on although global batch, data, tokenizer or seed are not what the run began with."""
    reference: Path | None = None
    """A published curve (CSV: step,metric,value) to draw behind this run's in loss.png."""
    hellaswag: Path | None = None
    """HellaSwag file (parquet or JSONL): its accuracy is measured whenever the validation loss is."""

    def __post_init__(self) -> None:
        if self.check_shards < 0:
            raise ValueError(f"check_shards must not be negative (0: all shards); got {self.check_shards}")
