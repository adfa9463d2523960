"""What is compiled for a run: one step for each length of batch, the initialisation, the evaluation.

Batches are padded to a few lengths. The step of the longest one is compiled first, so that a run that does not fit is
refused before it has begun; the others are compiled when their length first occurs.
"""

import dataclasses
import math
import time
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np

from llm_jax import backend, sharding
from llm_jax.models import decoder
from train.cluster.devices import Job
from train.finetune import estimate
from train.finetune.config import FinetuneConfig
from train.finetune.data.batches import FinetuneBatches
from train.finetune.inputs import TASKS, Batches, Inputs, prompt_of
from train.finetune.lengths import OfEveryLength
from train.finetune.measure.sampling import COUNT
from train.finetune.objectives import Batch, Objective, objective
from train.finetune.step import init_state, make_sums, make_train_step
from train.finetune.trained import Trainable
from train.optim.optimizer import make_optimizer
from train.pretrain.build import true_memory
from train.pretrain.step import places_of
from train.record.progress import print_table


@dataclasses.dataclass(frozen=True)
class Setup:
    """What follows from a run's options and inputs."""

    config: FinetuneConfig  # with its number of steps
    inputs: Inputs
    job: Job
    plan: decoder.Plan
    task: str
    objective: Objective
    trainable: Trainable
    batches: FinetuneBatches
    held_out: FinetuneBatches | None  # None where no example is held out

    @staticmethod
    def of(config: FinetuneConfig, inputs: Inputs, job: Job) -> "Setup":
        """Raises ValueError where options and examples do not go together."""
        data = inputs.data
        task = TASKS.get(data.kind, "sft")
        if config.packing and task != "sft":
            raise ValueError("--packing is for text to learn; pairs and labelled texts are padded: leave it out")
        if task == "classify" and config.optimizer.optimizer == "muon":
            raise ValueError("optimizer=muon is for matrices between hidden features, not for a classifier: use adamw")
        config.micro_batches(job.batch_devices)
        batches = FinetuneBatches(data, "train", config.batch_size, config.seed, packing=config.packing)
        held_out = None
        if data.count("val"):
            held_out = FinetuneBatches(data, "val", config.batch_size, None, packing=config.packing)
        steps = config.steps or max(1, math.ceil(config.epochs * batches.batches_per_epoch))
        return Setup(
            config=dataclasses.replace(config, steps=steps),
            inputs=inputs,
            job=job,
            plan=decoder.make_plan(config.execution, sharding.Constrain(job.mesh)),
            task=task,
            objective=objective(task, config.objective),
            trainable=Trainable(inputs.model, config.lora, len(data.labels or ()) if task == "classify" else 0),
            batches=batches,
            held_out=held_out,
        )

    @property
    def labels(self) -> tuple[str, ...] | None:
        return tuple(self.inputs.data.labels) if self.task == "classify" else None

    @property
    def micro_batches(self) -> int:
        """Parts in which a batch is computed."""
        return self.config.micro_batches(self.job.batch_devices)

    @property
    def longest(self) -> int:
        """Tokens of the longest row that a step reads."""
        return max(length for _, length in self.batches.shapes())

    @cached_property
    def optimizer(self) -> Any:
        return make_optimizer(self.config.optimizer, self.trainable.letters())

    def prompts(self) -> list[list[int]]:
        """The first held-out prompts; the first ones of the training examples where none are held out."""
        if self.task == "classify":
            return []
        split = "val" if self.held_out else "train"
        data = self.inputs.data
        return [prompt_of(data, split, index) for index in range(min(COUNT, data.count(split)))]

    def print_estimate(self, name: str) -> None:
        """The table of sizes, before anything is allocated."""
        config, mesh, data = self.config, dict(self.job.mesh.shape), self.inputs.data
        rows = self.objective.groups * config.batch_size // self.job.batch_devices // self.micro_batches
        held_out = f"{data.count('val'):,} held out" if self.held_out else "none held out"
        padding = f"{self.batches.padding():.0%} padding in {len(self.batches.shapes())} lengths"
        what = " · ".join(
            [f"{data.count('train'):,} {data.kind}, {padding}", held_out, f"task {self.task}", *data.said()]
        )
        fused = self.plan.attention == "cudnn"
        args = (config, self.trainable, what, mesh, rows, self.longest, self.plan.dtype.itemsize, fused)
        print_table(f"run {name}", estimate.describe(*args))


class Compiled(NamedTuple):
    """The programs of a run, and the frozen base on the devices (None where all parameters are trained)."""

    step: "StepOfEveryLength"
    initialise: "Initialise"
    sums: OfEveryLength
    base: decoder.Decoder | None


def compile_all(setup: Setup, params: decoder.Decoder) -> Compiled:
    """Puts the base's `params` on the devices and compiles the step of the longest batch."""
    mesh, trainable = setup.job.mesh, setup.trainable
    everywhere = sharding.named(mesh, "")
    base_places = sharding.shardings(mesh, decoder.dimension_letters(trainable.model))
    base = _put(decoder.cast(params, trainable.model, setup.plan), base_places) if trainable.lora else None
    shapes = jax.eval_shape(lambda key: init_state(key, params, trainable, setup.optimizer), jax.random.key(0))
    places = places_of(mesh, trainable.letters(), shapes)
    start = _put(params, base_places) if base is None else base
    initialise = Initialise(setup, start, places)
    step = StepOfEveryLength(setup, base, places, initialise.eval_shape(jax.random.key(0)))
    started = time.monotonic()
    references = np.zeros((1, 2), np.float32) if setup.task == "dpo" else None
    compiled = step.of(Batches(setup.batches, mesh, references).longest())
    if setup.job.is_first:
        print(f"compiled the step in {time.monotonic() - started:.1f} s{true_memory(compiled)}", flush=True)
    sums = jax.jit(make_sums(trainable, setup.objective, setup.plan), out_shardings=everywhere)
    return Compiled(step, initialise, OfEveryLength(sums, setup.plan.platform), base)


class Initialise:
    """key → the state before the first step, spread over the mesh."""

    def __init__(self, setup: Setup, base: decoder.Decoder, places: Any) -> None:
        trainable, optimizer = setup.trainable, setup.optimizer
        self._base: decoder.Decoder | None = base
        self._jitted = jax.jit(lambda key, base: init_state(key, base, trainable, optimizer), out_shardings=places)
        self._params = jax.jit(trainable.init, out_shardings=places.params)

    def __call__(self, key: jax.Array) -> Any:
        state = jax.block_until_ready(self._jitted(key, self._base))
        backend.release_memory()  # that of its compilation
        return state

    def params(self, key: jax.Array) -> Any:
        """Its trained parameters alone."""
        return self._params(key, self._base)

    def release(self) -> None:
        """Releases the base where the state has replaced it; call this when the state exists."""
        self._base = None

    def eval_shape(self, key: jax.Array) -> Any:
        """Shapes, types and places of the state's arrays."""
        return self._jitted.eval_shape(key, self._base)


class StepOfEveryLength:
    """The training step: compiled once for each shape of batch, with the state's buffers donated."""

    def __init__(self, setup: Setup, base: decoder.Decoder | None, places: Any, state: Any) -> None:
        everywhere = sharding.named(setup.job.mesh, "")
        args = (setup.trainable, setup.objective, setup.plan, setup.optimizer, setup.micro_batches)
        jitted = jax.jit(
            make_train_step(*args),
            out_shardings=(places, everywhere),
            donate_argnums=0,
            compiler_options=backend.step_options(setup.plan.platform),
        )
        self._programs, self._base, self._state = OfEveryLength(jitted, setup.plan.platform), base, state
        self._is_on_cpu = setup.plan.platform == "cpu"

    def __call__(self, state: Any, batch: Batch, lr: np.float32) -> Any:
        """Begins a step; the loop, which measures its time, waits for it."""
        if self._is_on_cpu:  # a step that waits for the one before holds its scratch memory already
            jax.block_until_ready(state)
        return self._programs.begun(state, self._base, batch, lr)

    def of(self, batch: Batch) -> Any:
        """The program for batches of this shape."""
        return self._programs.of(self._state, self._base, batch, jax.ShapeDtypeStruct((), "float32"))


def _put(tree: Any, places: Any) -> Any:
    """On the devices; of several processes each gives its own part."""
    if jax.process_count() == 1:
        return jax.device_put(tree, places)

    def one(x: Any, place: Any) -> jax.Array:
        whole = np.asarray(x)
        return jax.make_array_from_callback(whole.shape, place, lambda where: whole[where])

    return jax.tree.map(one, tree, places)
