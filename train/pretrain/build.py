"""From options to a running loop: inputs, devices, compiled step, state (new or restored), loop."""

import contextlib
import dataclasses
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import jax
import optax

from llm_jax import backend, sharding
from llm_jax.checkpoint import Checkpoints
from llm_jax.models import decoder
from llm_jax.runs import CHECKPOINTS, TOKENIZER, folder_of
from llm_jax.tokenizer import Tokenizer
from train.cluster import devices
from train.cluster.signals import StopRequest
from train.data.loader import TokenBatches, on_devices
from train.data.manifest import FILE_NAME as MANIFEST
from train.data.manifest import Manifest
from train.optim.optimizer import make_optimizer
from train.pretrain import estimate, loop, run_folder
from train.pretrain.config import RunOptions, TrainConfig
from train.pretrain.inputs import open_inputs
from train.pretrain.measure.evaluate import Evaluator
from train.pretrain.measure.hellaswag import open_hellaswag
from train.pretrain.measure.sampling import Sampler
from train.pretrain.resume import begin_or_resume, refuse_fewer_steps
from train.pretrain.run_folder import Identity
from train.pretrain.session import Task, conduct
from train.pretrain.step import init_state, make_eval_step, make_train_step, state_shardings
from train.record import plots
from train.record.clock import Clock
from train.record.metrics import Metrics, mend_and_say
from train.record.progress import StepProgress, print_table


def pretrain(where: RunOptions, config: TrainConfig) -> int:
    """Trains one run to its end, or until asked to stop; returns the exit status (see `train.cluster.signals`)."""
    folder = folder_of(where.runs, where.run)

    def begin() -> Task[tuple[Manifest, Tokenizer | None]]:
        config.check_micro_batch()
        settled = run_folder.decide_resume(where, folder)
        if settled.reference:
            plots.read_curve(settled.reference)  # a mistake in it is reported now, not when it is drawn
        return Task(
            lambda prepares: _open(settled, config, folder, prepares),
            lambda inputs, stop, stack: _build(settled, config, inputs[0], inputs[1], stop, stack),
        )

    return conduct(folder, begin)


def _open(where: RunOptions, config: TrainConfig, folder: Path, prepares: bool) -> tuple[Manifest, Tokenizer | None]:
    """The data and its tokenizer, which may have to be prepared first."""
    try:
        return open_inputs(where, config, folder, prepares)
    except ValueError as error:
        if not (prepares and where.resume and where.data.is_file() and (folder / "data" / MANIFEST).exists()):
            raise
        raise ValueError(  # prepare's cures are for its own flags
            f"{error} Here: restore the text and --tokenizer that the run was begun with; or, for other text, say "
            f"python -m train prepare --source {where.data} --tokenizer {folder / TOKENIZER} --out DIR, and "
            "then --data DIR --allow-changes."
        ) from error


def _build(
    where: RunOptions,
    config: TrainConfig,
    manifest: Manifest,
    vocabulary: Tokenizer | None,
    stop: StopRequest,
    stack: ExitStack,
) -> tuple[Any, Any]:
    """Everything the loop needs, and the state it starts from."""
    folder = folder_of(where.runs, where.run)
    config = dataclasses.replace(
        config, model=dataclasses.replace(config.model, vocab_size=manifest.tokenizer.vocab_size)
    )
    job = devices.open_job(config.mesh, config.model)
    plan = decoder.make_plan(config.execution, sharding.Constrain(job.mesh))
    if job.is_first:
        rows = estimate.describe(config, dict(job.mesh.shape), plan.dtype.itemsize, plan.attention == "cudnn")
        print_table(f"run {where.run}", rows)
    identity = Identity(
        data=manifest.fingerprint,
        tokenizer=manifest.tokenizer.fingerprint or manifest.tokenizer.name,
        global_batch=config.batch_size,
        context_length=config.model.context_length,
        seed=config.seed,
    )
    changes = run_folder.UNCHANGED
    if where.resume:
        changes = run_folder.refuse_another_run(folder, config, identity, where.allow_changes)
        refuse_fewer_steps(folder, config.steps)
    letters: Any = decoder.dimension_letters(config.model)
    optimizer = make_optimizer(config.optimizer, letters)
    batches = TokenBatches(manifest, "train", config.model.context_length, config.batch_size, config.seed)
    evaluate = Evaluator(make_eval_step(config.model, plan), manifest, vocabulary, config, job)
    hellaswag = open_hellaswag(where.hellaswag, vocabulary, config, plan, job)
    step, initialise = compile_step(config, plan, optimizer, job)
    if job.is_first and not where.resume:  # compiled, so it fits in memory: from now on the run can be resumed
        run_folder.save(folder, config, identity, where, vocabulary)
    if stop.agreed():
        return None, None
    keep = config.cadence
    checkpoints = Checkpoints(folder / CHECKPOINTS, keep.keep_last, keep.keep_every or None)
    stack.enter_context(contextlib.closing(checkpoints))
    start = begin_or_resume(where.resume, checkpoints, initialise, config.seed, job, changes)
    if job.is_first and where.resume:
        run_folder.save(folder, config, identity, where, vocabulary)
    if job.is_first:
        mend_and_say(folder, start.steps_on_record)
    metrics = stack.enter_context(Metrics(folder, start.steps_on_record)) if job.is_first else None
    bar = stack.enter_context(StepProgress(int(start.state.step), config.steps, keep.log_every, shown=job.is_first))
    run = loop.Run(
        config=config,
        folder=folder,
        train_step=step,
        load_batch=on_devices(batches, sharding.named(job.mesh, "BT")),
        evaluate=evaluate,
        sample=Sampler(config, vocabulary, folder, job, bar.say),
        checkpoints=checkpoints,
        metadata={"layout": job.layout, "identity": dataclasses.asdict(identity)},
        metrics=metrics,
        progress=bar,
        stop=stop,
        hellaswag=hellaswag,
        reference=where.reference,
        flops_per_token=config.model.flops_per_token("nanogpt"),
        peak_flops=devices.peak_flops(),
        clock=Clock(start.seconds),
        tokens=start.tokens,
        unfinished=start.unfinished,
    )
    return run, start.state


def compile_step(
    config: TrainConfig, plan: decoder.Plan, optimizer: optax.GradientTransformationExtraArgs, job: devices.Job
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The step, compiled ahead for its exact shapes with the state's buffers donated, and the initialisation."""
    places: Any = state_shardings(job.mesh, config.model, optimizer)
    everywhere = sharding.named(job.mesh, "")
    initialise = jax.jit(partial(init_state, config=config.model, optimizer=optimizer), out_shardings=places)
    step = jax.jit(
        make_train_step(config.model, plan, optimizer, config.micro_batches(job.batch_devices)),
        in_shardings=(places, sharding.named(job.mesh, "BT"), everywhere),
        out_shardings=(places, everywhere),
        donate_argnums=0,
        compiler_options=backend.step_options(plan.platform),
    )
    state = jax.eval_shape(initialise, jax.random.key(0))
    tokens = jax.ShapeDtypeStruct((config.batch_size, config.model.context_length + 1), "int32")
    started = time.monotonic()
    compiled = step.lower(state, tokens, jax.ShapeDtypeStruct((), "float32")).compile()
    backend.release_memory()  # the compiler's
    if job.is_first:
        print(f"compiled the step in {time.monotonic() - started:.1f} s{true_memory(compiled)}", flush=True)
    return compiled, initialise


def true_memory(compiled: Any) -> str:
    """What the compiled step needs on a device, in words; empty where XLA does not say."""
    found = compiled.memory_analysis()
    if found is None:
        return ""
    total = found.argument_size_in_bytes + found.temp_size_in_bytes + found.output_size_in_bytes
    return f"; it needs {estimate.size(total - found.alias_size_in_bytes)} per device"
