"""One start of a run, whatever it trains: lock its folder, join the processes, build, train, leave with its status.

Pretraining and fine-tuning say what is opened and what is built; this module knows the order, and the messages to the
user and to SLURM when something fails.
"""

import contextlib
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import jax

from llm_jax.checkpoint import RunLock
from llm_jax.checkpoint.layout import committed_steps
from llm_jax.command_line import place as slurm_place
from llm_jax.command_line.place import Place
from llm_jax.files.faults import safe
from llm_jax.runs import CHECKPOINTS
from train.cluster import devices
from train.cluster import job as slurm_job
from train.cluster.signals import EXIT_NOT_FINITE, EXIT_SAVED, StopRequest
from train.pretrain import loop
from train.pretrain.step import TrainState

DEAD_LOCK_SECONDS = 180.0  # a file server may take so long to notice that the node which held a lock is dead

OUT_OF_MEMORY = (
    "the devices ran out of memory: lower --micro-batch (sequences per device at once), turn on --remat, raise "
    "--loss-chunks, or shard the parameters with --fsdp"
)

Inputs = TypeVar("Inputs")


class Task(NamedTuple, Generic[Inputs]):
    """What is opened for a run, and what is built of it."""

    open_inputs: Callable[[bool], Inputs]
    """Argument: whether this process is the one that may write, such as prepare data. It may not use JAX: the first
    process calls it before the processes have joined each other."""
    build: Callable[[Inputs, StopRequest, ExitStack], tuple[loop.Run | None, TrainState | None]]
    """Everything the loop needs, and the state it starts from; (None, None) when asked to stop on the way."""


def conduct(folder: Path, begin: Callable[[], Task[Any]]) -> int:
    """Trains the run in `folder` to its end, or until asked to stop; returns the status (see `train.cluster.signals`).

    `begin` refuses what can be refused before anything is opened, and returns the task.
    """
    place = slurm_place.here(os.environ)

    def newest() -> str:
        steps = committed_steps(folder / CHECKPOINTS)
        what = f"the checkpoint of step {steps[-1]:,} is safe" if steps else "no checkpoint has been written yet"
        return f"{what}; when it is mended, go on with --resume"

    with (
        safe(newest),
        StopRequest() as stop,
        slurm_job.ending_together(folder, place),
        ExitStack() as stack,
        _explaining_memory(),
    ):
        task = begin()
        opened = None
        if place and place.is_first:  # before the others are called: an error now is reported to all
            opened = _lock_and_open(task, folder, stack, place)
        devices.join_processes(place, slurm_job.shared_folder(folder))
        if opened is None and jax.process_index() == 0:
            try:
                opened = _lock_and_open(task, folder, stack)
            except KeyboardInterrupt:
                if not stop:
                    raise
                print(f"{stop.name}: no step done, nothing to save; go on with --auto-resume")
                return EXIT_SAVED
        if opened is None:
            opened = task.open_inputs(False)
        run, state = task.build(opened, stop, stack)
        if run is None or state is None:
            if jax.process_index() == 0:
                print(f"{stop.name or 'another process'}: no step done, nothing to save; go on with --resume")
            return EXIT_SAVED
        if place and jax.process_index() == 0:
            slurm_job.record_start(folder, place, int(state.step))
        return _train(run, state, folder, place)


def _train(run: loop.Run, state: TrainState, folder: Path, place: Place | None) -> int:
    try:
        state, complete = loop.train(run, state)
    except loop.NotFiniteError as error:
        print(f"stopped: {error}", file=sys.stderr)
        if place:
            slurm_job.stop(folder, EXIT_NOT_FINITE, str(error))
        return EXIT_NOT_FINITE
    if complete:
        run.progress.say(f"done: {folder}")
        return 0
    run.progress.say(f"{run.stop.name or 'another process'}: saved step {int(state.step)}; go on with --resume")
    return EXIT_SAVED


def _lock_and_open(task: Task[Inputs], folder: Path, stack: ExitStack, place: Place | None = None) -> Inputs:
    """On the first process: locks the run, for all, and opens its data, which may have to be prepared first."""
    patience = DEAD_LOCK_SECONDS if place and place.restarts else 0.0
    stack.enter_context(RunLock(folder, patience))
    if place:
        slurm_job.introduce(folder)
    return task.open_inputs(True)


@contextlib.contextmanager
def _explaining_memory():
    """Turns XLA's out-of-memory error into one that names the levers."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise RuntimeError(f"{OUT_OF_MEMORY} ({str(error).splitlines()[0]})") from error
