"""Bytes that each device sends per training step, counted in the compiled program, beside what the formulas say.

Eight fake devices on one machine say nothing about time, but XLA's partitioner inserts the same kinds of communication
for them as for real ones. Every collective of the compiled step is counted as a ring would carry it out (n devices in
the group, S bytes of the whole array): all-reduce 2(n−1)/n·S, all-gather, reduce-scatter and all-to-all (n−1)/n·S,
permute S. The formulas (P parameters; b sequences on a device; L blocks; all in float32):

    data     gradients are summed:                                                     2(n−1)/n · 4P
    fsdp     weights are gathered forward and backward, gradients scattered:           3(n−1)/n · 4P
    tensor   Megatron: in each block two sums forward and two backward, and one each
             for embedding and head:                                             2(n−1)/n · 4bTD · (4L + 2)

    python benchmarks/communication.py --out benchmarks/results/communication.json
"""

import math
import os
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")

import jax
import tyro
from measuring import machine, save, show

from llm_jax import sharding
from llm_jax.config import DecoderConfig, Execution
from llm_jax.models import decoder
from train.optim.config import OptimizerConfig
from train.optim.optimizer import make_optimizer
from train.pretrain.step import init_state, make_train_step, state_shardings

KINDS = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
OPERATION = re.compile(rf"= (?P<shape>.*?) (?P<kind>{KINDS})(-start)?\((?P<rest>.*)")
ARRAY = re.compile(r"(pred|[a-z]+\d+)\[([\d,]*)\]")
GROUPS = re.compile(r"replica_groups=(?:\[\d+,(\d+)\]|\{\{([\d,]+)\})")


@dataclass(frozen=True)
class Options:
    layers: int = 4
    """Blocks of the model."""

    width: int = 256
    """Its width."""

    vocabulary: int = 2048
    """Its vocabulary, in tokens."""

    length: int = 64
    """Tokens in a sequence."""

    batch: int = 16
    """Sequences, all devices together."""

    out: Path | None = None
    """JSON file for the results."""


def main(options: Options) -> None:
    config = DecoderConfig(options.vocabulary, options.length, options.width, n_heads=8, n_layers=options.layers)
    n = jax.device_count()
    meshes = {"data": (n, 1, 1), "fsdp": (1, n, 1), "tensor": (1, 1, n)}
    result: dict = {"machine": machine(), "devices": n, "parameters": config.n_parameters, "meshes": {}}
    rows = []
    for name, mesh in meshes.items():
        sent = bytes_sent(compiled_step(config, options.batch, mesh))
        total, expected = sum(sent.values()), formula(name, config, options.batch, n)
        result["meshes"][name] = {"bytes": sent, "total": total, "formula": expected, "ratio": total / expected}
        kinds = ", ".join(f"{kind} {size / 1e6:.2f}" for kind, size in sorted(sent.items()))
        rows.append((name, f"{total / 1e6:.2f}", f"{expected / 1e6:.2f}", f"{total / expected:.2f}", kinds))
    show(f"MB a device sends in a step, {n} devices", ("compiled", "formula", "ratio", "of which"), rows)
    save(options.out, result)


def compiled_step(config: DecoderConfig, batch: int, shape: tuple[int, int, int]) -> str:
    """The program of one step on this mesh, after partitioning."""
    mesh = sharding.make_mesh(*shape)
    optimizer = make_optimizer(OptimizerConfig(), decoder.dimension_letters(config))
    plan = decoder.make_plan(Execution(), sharding.Constrain(mesh))
    places = state_shardings(mesh, config, optimizer)
    step = jax.jit(
        make_train_step(config, plan, optimizer, 1),
        in_shardings=(places, sharding.named(mesh, "BT"), None),
        out_shardings=(places, None),
        donate_argnums=0,
    )
    state = jax.eval_shape(lambda key: init_state(key, config, optimizer), jax.random.key(0))
    tokens = jax.ShapeDtypeStruct((batch, config.context_length + 1), "int32")
    return step.lower(state, tokens, jax.ShapeDtypeStruct((), "float32")).compile().as_text() or ""


def bytes_sent(program: str) -> dict[str, float]:
    """Bytes one device sends, by kind of collective. Loops would have to be counted often: there must be none."""
    assert " while(" not in program, "a collective in a loop would be counted once"
    sent: dict[str, float] = defaultdict(float)
    for line in program.splitlines():
        found = OPERATION.search(line)
        if found is None:
            continue
        size = sum(bytes_of(kind, dims) for kind, dims in ARRAY.findall(found["shape"]))
        sent[found["kind"]] += in_a_ring(found["kind"], size, group_size(found["rest"]))
    return dict(sent)


def in_a_ring(kind: str, size: float, n: int) -> float:
    """Bytes that each of n devices sends, for a collective whose result on a device has `size` bytes."""
    share = (n - 1) / n
    match kind:
        case "all-reduce":
            return 2 * share * size
        case "reduce-scatter":
            return share * size * n  # the result is one device's share
        case "collective-permute":
            return size
        case _:
            return share * size


def bytes_of(kind: str, dimensions: str) -> int:
    bits = 8 if kind == "pred" else int(re.sub(r"\D", "", kind))
    return math.prod(int(d) for d in dimensions.split(",") if d) * bits // 8


def group_size(text: str) -> int:
    found = GROUPS.search(text)
    if found is None:
        return jax.device_count()
    return int(found[1]) if found[1] else found[2].count(",") + 1


def formula(name: str, config: DecoderConfig, batch: int, n: int) -> float:
    """What theory says for this mesh, in bytes."""
    parameters = config.n_parameters + (config.padded_vocab_size - config.vocab_size) * config.d_model
    share = (n - 1) / n
    if name == "data":
        return 2 * share * 4 * parameters
    if name == "fsdp":
        return 3 * share * 4 * parameters
    activations = 4 * batch * config.context_length * config.d_model
    return 2 * share * activations * (4 * config.n_layers + 2)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
