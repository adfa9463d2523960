"""Memory of a training step: the estimate that `train pretrain` prints, beside XLA's own account of the compiled step.

XLA compiles for GPUs that are only described, so no GPU is needed. Shapes are the presets', with few layers, because
a layer's share is what the estimate may get wrong and many layers compile slowly. Needs JAX with CUDA:

    uv run --extra cuda12 python benchmarks/training_memory.py --out benchmarks/results/training_memory.json
"""

import dataclasses
import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the library need not be installed

import described
import tyro
from measuring import machine, save, show

from train.pretrain import estimate, presets
from train.pretrain.config import TrainConfig

ONE = (1, 1, 1)
# Preset, mesh (data, fsdp, tensor), changes to the run.
SETTINGS: list[tuple[str, tuple[int, int, int], dict[str, Any]]] = [
    ("gpt2-124m", ONE, {}),
    ("gpt2-124m", ONE, {"remat": True}),
    ("gpt2-124m", ONE, {"micro_batch": 8, "loss_chunks": 1}),
    ("gpt2-124m", ONE, {"micro_batch": 8, "attention": "xla"}),
    ("gpt2-124m", ONE, {"micro_batch": 8, "dtype": "float32"}),
    ("gpt2-124m", ONE, {"optimizer": "muon"}),
    ("gpt2-124m", (8, 1, 1), {}),
    ("gpt2-124m", (1, 8, 1), {}),
    ("gpt2-124m", (2, 4, 1), {"micro_batch": 16}),
    ("gpt2-350m", (2, 2, 2), {}),
    ("gpt2-774m", (1, 1, 4), {}),
    ("gpt2-1558m", ONE, {}),
    ("gpt2-1558m", (1, 8, 1), {"remat": False}),
    ("smollm2-135m", ONE, {}),
    ("llama-160m", ONE, {}),
    ("llama-160m", ONE, {"remat": True, "loss_chunks": 8}),
    ("llama-160m", (8, 1, 1), {"micro_batch": 16}),
    ("qwen3-0.6b", ONE, {}),
    ("qwen3-0.6b", (1, 8, 1), {"micro_batch": 4}),
    ("llama-1b", ONE, {}),
    ("llama-1b", (1, 4, 2), {"micro_batch": 2, "remat": False}),
]


@dataclass(frozen=True)
class Options:
    layers: int = 4
    """Blocks of every model; 0: as many as the preset has."""

    only: tuple[int, ...] = ()
    """Numbers of the settings to compile, from 0; by default all."""

    gpu: str = "H100"
    """GPU to compile for."""

    out: Path | None = None
    """JSON file for the results."""


def main(options: Options) -> None:
    found, rows = [], []
    for number in options.only or range(len(SETTINGS)):
        preset, mesh, changes = SETTINGS[number]
        started = time.monotonic()
        one = compared(configured(preset, changes, options.layers), mesh, options.gpu)
        found.append({"preset": preset, "mesh": mesh, "changes": changes} | one)
        what = ", ".join(f"{name} {value}" for name, value in changes.items())
        shape = "" if mesh == ONE else " × ".join(map(str, mesh)) + " "
        rows.append((f"{preset} {shape}{what}", *(f"{one[key] / 1e9:.2f}" for key in COLUMNS), f"{one['ratio']:.2f}"))
        print(*rows[-1], f"{time.monotonic() - started:.0f} s", sep="  ", flush=True)
    show("training step, GB a device", (*COLUMNS, "ratio"), rows)
    errors = [abs(one["ratio"] - 1) for one in found]
    print(f"error of the estimate: median {statistics.median(errors):.1%}, worst {max(errors):.1%}")
    save(options.out, {"machine": machine() | {"compiled_for": options.gpu}, "settings": found})


COLUMNS = ("compiled", "estimate", "state", "activations", "logits")


def configured(preset: str, changes: dict[str, Any], n_layers: int) -> TrainConfig:
    """The preset with changes by the names of its flags, and one step of two micro-batches."""
    config: TrainConfig = getattr(presets, preset.replace("-", "_").replace(".", "_"))()
    model = dataclasses.replace(config.model, n_layers=n_layers) if n_layers else config.model
    execution, optimizer, whole = config.execution, config.optimizer, {}
    for name, value in changes.items():
        if name == "optimizer":
            optimizer = dataclasses.replace(optimizer, optimizer=value)
        elif name == "micro_batch":
            whole[name] = value
        else:
            execution = dataclasses.replace(execution, **{name: value})
    return dataclasses.replace(config, model=model, execution=execution, optimizer=optimizer, **whole)


def compared(config: TrainConfig, mesh: tuple[int, int, int], gpu: str) -> dict[str, float]:
    """Bytes: compiled and estimated, and the estimate's parts."""
    rows = config.micro_batch * mesh[0] * mesh[1]
    config = dataclasses.replace(config, batch_tokens=2 * rows * config.model.context_length)
    compiled, plan = described.step(config, gpu, *mesh)
    data, fsdp, tensor = mesh
    shape: dict[str, int] = {"data": data, "fsdp": fsdp, "tensor": tensor}
    need = estimate.memory(config, shape, plan.dtype.itemsize, plan.attention == "cudnn")
    true = described.needed(compiled)
    return {
        "compiled": true,
        "estimate": need.total,
        "ratio": need.total / true,
        "state": need.state,
        "activations": need.activations,
        "logits": need.logits,
    }


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
