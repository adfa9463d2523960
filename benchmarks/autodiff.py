"""Our two engines and micrograd on micrograd's own demonstration: one step of training on two moons, 337 parameters.

All three compute the same network from the same weights: loss, gradient, new weights. Ours must be at least 3 times as
fast with scalars and at least 50 times with arrays. The sides take turns, each in a fresh process; medians of processor
time are shown. Needs micrograd: pip install micrograd

    python benchmarks/autodiff.py --out benchmarks/results/autodiff.json
"""

import gc
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tyro
from measuring import save
from rich.console import Console
from rich.table import Table

from llm_jax.autodiff import Scalar, backward, value_and_grad, weighted_sum
from train.first_principles import moons

REFERENCE, SINGLE, FUSED, ARRAYS = (
    "micrograd",
    "ours, a node for each sum and product",
    "ours, a node for each neuron",
    "ours, arrays",
)
FLOORS = {SINGLE: 3.0, FUSED: 3.0, ARRAYS: 50.0}


@dataclass(frozen=True)
class Options:
    rounds: int = 5
    """How often each side takes its turn."""

    steps: int = 3
    """Training steps in a turn (20 times as many with arrays, which would be over too soon to be timed)."""

    collector: bool = True
    """Leave Python's cycle collector on, as it is in use. micrograd's graphs are cyclic and need it; ours do not."""

    out: Path | None = None
    """JSON file for the results."""


def main(options: Options) -> int:
    seconds: dict[str, list[float]] = {name: [] for name in SIDES}
    losses: dict[str, list[float]] = {}
    # A process for every turn: what one side leaves in memory must not slow down the next.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn, max_tasks_per_child=1) as pool:
        for _ in range(options.rounds):
            for name in SIDES:
                losses[name], elapsed = pool.submit(take_turn, name, options.steps, options.collector).result()
                seconds[name].append(elapsed)
    assert all(abs(a - b) < 1e-9 for other in losses.values() for a, b in zip(losses[REFERENCE], other, strict=True))
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    speedups = {name: medians[REFERENCE] / medians[name] for name in SIDES}
    show(medians, speedups)
    if options.out:
        result = {
            "seconds_per_step": medians,
            "times_as_fast_as_micrograd": speedups,
            "cycle_collector": options.collector,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        }
        save(options.out, result)
    return 0 if all(speedups[name] >= floor for name, floor in FLOORS.items()) else 1


def take_turn(name: str, steps: int, collector: bool) -> tuple[list[float], float]:
    """The losses of two steps, to compare, and then the seconds a step takes."""
    step = SIDES[name]()
    losses = [step(0), step(1)]
    gc.collect()
    if not collector:
        gc.disable()
    count = steps * (20 if name == ARRAYS else 1)
    begun = time.process_time()
    for i in range(count):
        step(i)
    return losses, (time.process_time() - begun) / count


def micrograd_step() -> Callable[[int], float]:
    try:
        from micrograd.engine import Value
        from micrograd.nn import MLP
    except ImportError:
        raise SystemExit(
            "error: micrograd is not installed; it is needed to compare with: pip install micrograd"
        ) from None
    points, labels = moons.two_moons()
    network = MLP(moons.SIZES[0], list(moons.SIZES[1:]))
    for layer, weights in zip(network.layers, moons.initial_weights(), strict=True):
        for neuron, (*w, b) in zip(layer.neurons, weights, strict=True):
            neuron.w, neuron.b = [Value(x) for x in w], Value(b)

    def step(i: int) -> float:
        hinges = []
        for point, label in zip(points.tolist(), labels.tolist(), strict=True):
            score: Any = network([Value(x) for x in point])
            hinges.append((1.0 - label * score).relu())
        loss: Any = sum(hinges) * (1.0 / len(hinges)) + moons.WEIGHT_DECAY * sum(p * p for p in network.parameters())
        network.zero_grad()
        loss.backward()
        for p in network.parameters():
            p.data -= moons.learning_rate(i) * p.grad
        return loss.data

    return step


def scalar_step(sum_up: Callable[..., Scalar]) -> Callable[[int], float]:
    points, labels = moons.two_moons()
    network = moons.ScalarNetwork(moons.initial_weights(), sum_up)

    def step(i: int) -> float:
        loss = network.loss(points, labels)
        network.descend(backward(loss), moons.learning_rate(i))
        return loss.value

    return step


def array_step() -> Callable[[int], float]:
    points, labels = moons.two_moons()
    parameters = moons.as_arrays(moons.initial_weights())

    def step(i: int) -> float:
        nonlocal parameters
        loss, gradients = value_and_grad(moons.array_loss)(parameters, points, labels)
        parameters = moons.descend(parameters, gradients, moons.learning_rate(i))
        return loss

    return step


SIDES = {
    REFERENCE: micrograd_step,
    SINGLE: partial(scalar_step, moons.one_node_each),
    FUSED: partial(scalar_step, weighted_sum),
    ARRAYS: array_step,
}


def show(medians: dict[str, float], speedups: dict[str, float]) -> None:
    table = Table(title="one step on two moons, 337 parameters", title_justify="left")
    for column in ("", "milliseconds", "× micrograd", "wanted"):
        table.add_column(column, justify="left" if not column else "right")
    for name, seconds in medians.items():
        floor = f"≥ {FLOORS[name]:.0f}" if name in FLOORS else ""
        table.add_row(name, f"{1e3 * seconds:.2f}", f"{speedups[name]:.1f}", floor)
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
