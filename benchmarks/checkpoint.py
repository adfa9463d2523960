"""What a checkpoint costs: how long training stands still, when it is committed, how long restoring takes.

The state is that of AdamW: parameters and two moments, random float32. Beside ours, on the same state and disk, stand
orbax alone as it comes (compressed, no hashes, waited for) and `numpy.savez`, which blocks and commits nothing.
All take turns; medians are shown. Reading is from the page cache.

    python benchmarks/checkpoint.py --out benchmarks/results/checkpoint.json
"""

import functools
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import tyro
from measuring import save
from rich.console import Console
from rich.table import Table

from llm_jax.checkpoint import Checkpoints

Times = dict[str, float]  # seconds: the step stands still, until committed, restore


@dataclass(frozen=True)
class Options:
    parameters: float = 20e6
    """Parameters; the state on disk has 12 bytes for each."""

    repeats: int = 5
    """How often each side is timed."""

    directory: Path | None = None
    """Where to write, on the disk to be measured; default: the system's temporary folder."""

    out: Path | None = None
    """JSON file for the results."""


def main(options: Options) -> None:
    state = jax.block_until_ready(make_state(int(options.parameters)))  # otherwise the first side would wait for it
    sides: dict[str, Callable[[Path, Any], Times]] = {
        "llm_jax": ours,
        "orbax alone": orbax_alone,
        "numpy.savez": numpy_savez,
    }
    times: dict[str, list[Times]] = {name: [] for name in sides}
    for _ in range(options.repeats):
        for name, measure in sides.items():
            folder = Path(tempfile.mkdtemp(dir=options.directory))
            try:
                times[name].append(measure(folder, state))
            finally:
                shutil.rmtree(folder)
    medians = {name: {key: statistics.median(t[key] for t in runs) for key in runs[0]} for name, runs in times.items()}
    gigabytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) / 1e9
    show(medians, gigabytes)
    if options.out:
        machine = f"{platform.machine()}, {os.cpu_count()} cores, {jax.devices()[0].device_kind}"
        save(options.out, {"seconds": medians, "gigabytes": gigabytes, "machine": machine})


def make_state(parameters: int) -> dict[str, Any]:
    """Twelve matrices of parameters, and as many of each moment."""
    shape = (parameters // 12 // 1000, 1000)
    draw = functools.partial(jax.random.normal, shape=shape)
    keys = jax.random.split(jax.random.key(0), (3, 12))
    return {name: [draw(key) for key in row] for name, row in zip(("params", "mu", "nu"), keys, strict=True)}


def ours(folder: Path, state: Any) -> Times:
    checkpoints = Checkpoints(folder)
    begun = time.perf_counter()
    checkpoints.save(1, state, {})
    stalled = time.perf_counter()
    checkpoints.wait()
    committed = time.perf_counter()
    jax.block_until_ready(checkpoints.restore(template_of(state)).state)
    restored = time.perf_counter()
    checkpoints.close()
    return times_between(begun, stalled, committed, restored)


def orbax_alone(folder: Path, state: Any) -> Times:
    with ocp.StandardCheckpointer() as checkpointer:
        begun = time.perf_counter()
        checkpointer.save(folder / "state", state)
        checkpointer.wait_until_finished()
        committed = time.perf_counter()
        jax.block_until_ready(checkpointer.restore(folder / "state", template_of(state)))
        return times_between(begun, committed, committed, time.perf_counter())


def numpy_savez(folder: Path, state: Any) -> Times:
    leaves = {str(index): leaf for index, leaf in enumerate(jax.tree.leaves(state))}
    begun = time.perf_counter()
    with (folder / "state.npz").open("wb") as file:
        np.savez(file, **leaves)
        os.fsync(file.fileno())
    committed = time.perf_counter()
    with np.load(folder / "state.npz") as stored:
        jax.block_until_ready([jnp.asarray(stored[name]) for name in leaves])
    return times_between(begun, committed, committed, time.perf_counter())


def template_of(state: Any) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)


def times_between(begun: float, stalled: float, committed: float, restored: float) -> Times:
    return {
        "training stands still": stalled - begun,
        "until committed": committed - begun,
        "restore": restored - committed,
    }


def show(medians: dict[str, Times], gigabytes: float) -> None:
    table = Table(title=f"A checkpoint of {gigabytes:.2f} GB: seconds, medians", title_justify="left")
    table.add_column("")
    for column in next(iter(medians.values())):
        table.add_column(column, justify="right")
    for name, times in medians.items():
        table.add_row(name, *(f"{value:.3f}" for value in times.values()))
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
