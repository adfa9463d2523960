"""Training on 8 to 1,024 GPUs, by compiling: memory, what the GPUs send to each other, and the MFU that follows.

XLA compiles the step for as many GPUs as are described, so its partitioner inserts the collectives of a real job.
Models of four and of eight blocks are compiled; what a block adds is counted for all blocks of the real model.
Parameters are split (fsdp) over the eight GPUs of a machine, machines hold copies (data). Every collective is counted
as a ring carries it out (`benchmarks/communication.py`). Beside it stand the formulas, for P parameters, f GPUs in a
machine and d machines:

    inside a machine     weights are gathered in bfloat16, gradients scattered in float32:    (f−1)/f · (2P + 4P)
    between machines     each GPU's share of the gradients is summed:                        2(d−1)/d · 4P/f

The MFU is a prediction: arithmetic at the efficiency that `benchmarks/hardware.py` fits, with all communication hidden
behind it, and with none. Needs JAX with CUDA, no GPU:

    uv run --extra cuda12 python benchmarks/scale.py --out benchmarks/results/scale.json
"""

import dataclasses
import math
import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the library need not be installed

import described
import numpy as np
import tyro
from communication import in_a_ring
from hlo import Instruction, Program, arrays
from measuring import machine, save, show

from llm_jax.config import DecoderConfig, Execution, llama
from llm_jax.hardware.speed import FITTED
from train.pretrain import estimate, presets
from train.pretrain.config import TrainConfig

IN_A_MACHINE = 8
LINK = 450e9  # bytes/s that an H100 sends over NVLink (NVIDIA's data sheet: 900 GB/s both ways)
NETWORK = 50e9  # bytes/s of the network for each GPU: one port of 400 Gbit/s
KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
LLAMA_8B = llama(  # Llama-3-8B's shape (Dubey et al. 2024, table 3)
    vocab_size=128_256,
    context_length=8192,
    d_model=4096,
    n_heads=32,
    n_kv_heads=8,
    n_layers=32,
    mlp_width=14_336,
    rotary_theta=500_000.0,
    tied_head=False,
)


@dataclass(frozen=True)
class Options:
    gpus: tuple[int, ...] = (8, 64, 256, 1024)
    """How many GPUs, eight in a machine."""

    models: tuple[str, ...] = ("gpt2-1558m", "llama-8b")
    """gpt2-1558m, llama-8b."""

    gpu: str = "H100"
    """GPU to compile for."""

    out: Path | None = None
    """JSON file for the results."""


def main(options: Options) -> None:
    found: dict[str, Any] = {"machine": machine() | {"compiled_for": options.gpu}, "models": {}}
    for name in options.models:
        rows = []
        for n in options.gpus:
            started = time.monotonic()
            one = scaled(run_of(name), n, options.gpu)
            found["models"].setdefault(name, {})[n] = one
            print(f"{name} on {n} GPUs: compiled in {time.monotonic() - started:.0f} s", flush=True)
            rows.append((f"{n}", *(f"{one[key] / 1e9:.1f}" for key in GB), *(f"{one[key]:.0%}" for key in SHARES)))
        config = run_of(name)
        n_tokens = config.micro_batch * config.model.context_length
        show(f"{name}, {n_tokens:,} tokens a GPU and step; GB a GPU", (*GB, *SHARES), rows)
    save(options.out, found)


GB = ("memory", "estimate", "inside", "inside, formula", "between", "between, formula")
SHARES = ("MFU, all hidden", "MFU, none hidden")


def run_of(name: str) -> TrainConfig:
    """The run, computed anew in the backward pass (remat), with one micro-batch a step."""
    config = presets.gpt2_1558m()
    if name == "llama-8b":
        config = dataclasses.replace(config, model=LLAMA_8B, micro_batch=1)
    elif name != "gpt2-1558m":
        raise ValueError(f"unknown model {name!r}; one of: gpt2-1558m, llama-8b")
    else:
        config = dataclasses.replace(config, micro_batch=8)
    return dataclasses.replace(config, execution=Execution(remat=True, loss_chunks=8))


def scaled(config: TrainConfig, n_gpus: int, gpu: str) -> dict[str, float]:
    """Bytes on and of one GPU, and the MFU that follows."""
    mesh = {"data": n_gpus // IN_A_MACHINE, "fsdp": IN_A_MACHINE, "tensor": 1}
    config = dataclasses.replace(config, batch_tokens=n_gpus * config.micro_batch * config.model.context_length)
    four, eight = (measured(with_layers(config, n), mesh, gpu) for n in (4, 8))
    whole = {key: four[key] + (config.model.n_layers - 4) * (eight[key] - four[key]) / 4 for key in four}
    parameters = config.model.n_parameters
    fsdp, data = mesh["fsdp"], mesh["data"]
    arithmetic = config.micro_batch * config.model.context_length * flops(config.model) / described.PEAK
    seconds = 4 / 3 * arithmetic / FITTED.training  # remat computes the forward pass twice
    talking = whole["inside"] / LINK + whole["between"] / NETWORK
    return whole | {
        "estimate": estimate.memory(config, mesh, 2, fused_attention=True).total,
        "inside, formula": (fsdp - 1) / fsdp * 6 * parameters,
        "between, formula": 2 * (data - 1) / data * 4 * parameters / fsdp,
        "MFU, all hidden": arithmetic / max(seconds, talking),
        "MFU, none hidden": arithmetic / (seconds + talking),
    }


def flops(model: DecoderConfig) -> float:
    """Of a token, without what remat computes again."""
    return model.flops_per_token("llm.c")


def with_layers(config: TrainConfig, n_layers: int) -> TrainConfig:
    return dataclasses.replace(config, model=dataclasses.replace(config.model, n_layers=n_layers))


def measured(config: TrainConfig, mesh: dict[str, int], gpu: str) -> dict[str, float]:
    """Bytes of memory, and bytes a GPU sends inside its machine and out of it."""
    compiled, _ = described.step(config, gpu, mesh["data"], mesh["fsdp"], mesh["tensor"])
    sent = {"inside": 0.0, "between": 0.0}
    for one, times in collectives(Program(compiled.as_text())):
        n, span = group(one.rest, mesh["data"] * mesh["fsdp"])
        size = sum(bytes_in(part) for part in result(one))
        sent["inside" if span <= IN_A_MACHINE else "between"] += times * in_a_ring(
            one.operation.removesuffix("-start"), size, n
        )
    return {"memory": described.needed(compiled), **sent}


def collectives(program: Program, computation: str | None = None, times: int = 1) -> Iterator[tuple[Instruction, int]]:
    """All that run, with the number of turns of the loops they stand in."""
    for one in program.computations[computation or program.entry]:
        if one.operation == "while":
            turns = re.search(r'known_trip_count":\{"n":"(\d+)"', one.rest)
            yield from collectives(program, one.called("body"), times * int(turns[1] if turns else 1))
        elif one.operation == "call":
            yield from collectives(program, one.called("to_apply"), times)
        elif one.operation.removesuffix("-start") in KINDS:
            yield one, times


def result(one: Instruction) -> list[str]:
    """The shapes of a collective's results: an asynchronous one lists its operands before them."""
    if not one.operation.endswith("-start") or one.operation == "all-reduce-start":
        return [one.shape]
    depth, parts, begun = 0, [], 1
    for place, character in enumerate(one.shape):
        depth += (character in "([{") - (character in ")]}")
        if (character == "," and depth == 1) or depth == 0:
            parts.append(one.shape[begun:place])
            begun = place + 1
    return parts[1:2]


def bytes_in(shape: str) -> int:
    return Instruction("", shape, "", "", False).bytes if arrays(shape) else 0


def group(rest: str, n_gpus: int) -> tuple[int, int]:
    """How many GPUs take part in a collective together, and among how many neighbours they lie."""
    numbers = r"([\d,]+)"
    if found := re.search(rf"replica_groups=\{{\{{{numbers}\}}", rest):
        members = _integers(found[1])
    elif found := re.search(rf"replica_groups=\[{numbers}\]<=\[{numbers}\](?:T\({numbers}\))?", rest):
        members = _places(found[2], found[3]).reshape(_integers(found[1]))[0]
    elif found := re.search(r"replica_groups=mesh\[(.*?)\](, device_ids=\(.*?\)\))? \{(.*?)\}", rest):
        sizes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", found[1])}
        order = re.search(rf"\[{numbers}\](?:T\({numbers}\))?", found[2] or f"[{n_gpus}]")
        assert order is not None
        along = re.findall(r"'(\w+)'", found[3])  # axes of the mesh
        places = _places(order[1], order[2]).reshape(list(sizes.values()))
        members = places[tuple(slice(None) if name in along else 0 for name in sizes)].ravel()
    else:
        members = range(n_gpus)
    return len(members), int(max(members) - min(members)) + 1


def _integers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


def _places(shape: str, order: str | None) -> np.ndarray:
    """GPUs 0, 1, 2, … in this shape, its axes in another order."""
    places = np.arange(math.prod(_integers(shape))).reshape(_integers(shape))
    return places.transpose(_integers(order)) if order else places


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
