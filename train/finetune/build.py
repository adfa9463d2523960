"""From options to a running loop: inputs, devices, compiled step, state (new or restored), loop."""

import contextlib
import dataclasses
from contextlib import ExitStack
from pathlib import Path

import jax

from llm_jax import hf, sharding
from llm_jax.adapters import base_hash
from llm_jax.checkpoint import Checkpoints
from llm_jax.runs import CHECKPOINTS, CONFIG, folder_of
from train.cluster import devices
from train.cluster.signals import StopRequest
from train.finetune import record
from train.finetune.compiled import Compiled, Setup, compile_all
from train.finetune.config import FinetuneConfig, FinetuneOptions
from train.finetune.data.prepare import adopt
from train.finetune.data.show import show
from train.finetune.inputs import DATA, Batches, Inputs, Loader, folder_of_base, open_base, open_inputs
from train.finetune.measure.evaluate import Evaluator
from train.finetune.measure.rewards import draw_rewards
from train.finetune.measure.sampling import Sampler
from train.finetune.record import Record
from train.finetune.reference import References, key, log_probabilities, open_reference
from train.pretrain import loop, run_folder
from train.pretrain.resume import Start, begin_or_resume, refuse_fewer_steps
from train.pretrain.run_folder import Identity
from train.pretrain.session import Task, conduct
from train.pretrain.step import TrainState
from train.record.clock import Clock
from train.record.metrics import Metrics, mend_and_say
from train.record.progress import StepProgress


def finetune(source: str, where: FinetuneOptions, config: FinetuneConfig) -> int:
    """Trains one run to its end, or until asked to stop; returns the exit status (see `train.cluster.signals`)."""
    folder = folder_of(where.runs, where.run)

    def begin() -> Task[Inputs]:
        settled = run_folder.decide_resume(where, folder)
        return Task(
            lambda _: open_inputs(source, config, folder / DATA, folder, settled.allow_changes),
            lambda inputs, stop, stack: _build(settled, config, folder, inputs, stop, stack),
        )

    return conduct(folder, begin)


def _build(
    where: FinetuneOptions, config: FinetuneConfig, folder: Path, inputs: Inputs, stop: StopRequest, stack: ExitStack
) -> tuple[loop.Run | None, TrainState | None]:
    """Everything the loop needs, and the state it starts from."""
    job = devices.open_job(config.mesh, inputs.model)
    setup = Setup.of(config, inputs, job)
    config = setup.config
    base = open_base(inputs.source, folder)
    now = _record(config, inputs, setup, base, folder)
    changes = run_folder.UNCHANGED
    if where.resume:
        changes = record.refuse_another_run(folder, now, where.allow_changes)
        refuse_fewer_steps(folder, config.steps)
    else:
        record.refuse_without_effect(setup.task, config)
    if job.is_first:
        setup.print_estimate(where.run)
        show(inputs.data, inputs.tokenizer, 1)
    programs = compile_all(setup, base.params)
    del base  # its parameters, which the state replaces
    if job.is_first and not where.resume:  # compiled, so it fits in memory: from now on the run can be resumed
        record.save(folder, now, inputs.tokenizer)
    if stop.agreed():
        return None, None
    keep = config.cadence
    checkpoints = Checkpoints(folder / CHECKPOINTS, keep.keep_last, keep.keep_every or None)
    stack.enter_context(contextlib.closing(checkpoints))
    start = begin_or_resume(where.resume, checkpoints, programs.initialise, config.seed, job, changes)
    if job.is_first and where.resume:
        adopt(inputs.data, folder / DATA)
        record.save(folder, now, inputs.tokenizer)
    if job.is_first:
        mend_and_say(folder, start.steps_on_record)
    references = _references(folder, setup, programs, now, start.state, stop) if setup.task == "dpo" else {}
    if references is None:
        return None, None
    programs.initialise.release()
    metrics = stack.enter_context(Metrics(folder, start.steps_on_record)) if job.is_first else None
    bar = stack.enter_context(StepProgress(int(start.state.step), config.steps, keep.log_every, shown=job.is_first))
    run = _run(setup, programs, references, folder, now, start, checkpoints, metrics, bar, stop)
    if not int(start.state.step):
        run.sample(start.state.params, 0, stop.agreed)
        before = run.evaluate(start.state.params, stop.agreed)
        if before and (values := before.metrics()):
            bar.say(f"before the first step: {', '.join(f'{name} {value:.4f}' for name, value in values.items())}")
    return run, start.state


def _run(
    setup: Setup,
    programs: Compiled,
    references: References,
    folder: Path,
    now: Record,
    start: Start,
    checkpoints: Checkpoints,
    metrics: Metrics | None,
    bar: StepProgress,
    stop: StopRequest,
) -> loop.Run:
    config, job, inputs = setup.config, setup.job, setup.inputs
    load = Loader(Batches(setup.batches, job.mesh, references.get("train")))
    held_out = None
    if setup.held_out:
        held_out = Batches(setup.held_out, job.mesh, references.get("val"), setup.micro_batches)
    sampler = Sampler(
        setup.prompts(),
        config.cadence.sample_tokens,
        setup.trainable,
        programs.base,
        config.execution,
        inputs.tokenizer,
        folder,
        job,
        bar.say,
    )
    return loop.Run(
        config=config,
        folder=folder,
        train_step=programs.step,
        load_batch=load,
        tokens_of=load.tokens_of,
        evaluate=Evaluator(
            programs.sums,
            programs.base,
            lambda: (batch for _, batch in held_out.once()) if held_out else (),
            now.labels,
            folder if job.is_first else None,
        ),
        sample=sampler,
        checkpoints=checkpoints,
        metadata={"layout": job.layout, "identity": dataclasses.asdict(now.identity), "base": now.base["hash"]},
        metrics=metrics,
        progress=bar,
        stop=stop,
        unit=setup.objective.unit,
        draw_more=draw_rewards if setup.task == "dpo" else None,
        clock=Clock(start.seconds),
        tokens=start.tokens,
        unfinished=start.unfinished,
    )


def _record(config: FinetuneConfig, inputs: Inputs, setup: Setup, opened: hf.Opened, folder: Path) -> Record:
    source = inputs.source
    if (folder / CONFIG).exists() and source == record.base_of(was := record.read(folder)):
        source = was.base["source"]  # as it was given
    base = {
        "source": source,
        "folder": folder_of_base(inputs.source),
        "step": opened.step,
        "hash": base_hash(opened.params),
    }
    identity = Identity(
        data=inputs.data.fingerprint,
        tokenizer=inputs.tokenizer.fingerprint,
        global_batch=config.batch_size,
        context_length=setup.longest,
        seed=config.seed,
    )
    return Record(config, inputs.model, setup.task, setup.labels, base, identity)


def _references(
    folder: Path, setup: Setup, programs: Compiled, now: Record, state: TrainState, stop: StopRequest
) -> References | None:
    """The log-probabilities of every pair under the parameters with which the run began, resumed or not.

    None when asked to stop on the way: the next start computes what is missing.
    """
    mesh = setup.job.mesh
    splits = {"train": (setup.batches, setup.config.steps), "val": (setup.held_out, None)}
    there = {
        split: (Batches(batches, mesh, micro_batches=setup.micro_batches), steps)
        for split, (batches, steps) in splits.items()
        if batches
    }
    name = key(now.base["hash"], now.identity.data, str(setup.plan.dtype))

    def compute(known: References) -> bool:
        has_begun = int(state.step) > 0
        params = programs.initialise.params(jax.random.key(setup.config.seed)) if has_begun else state.params
        once = {split: batches.once(steps) for split, (batches, steps) in there.items()}
        args = (params, programs.base, setup.trainable, setup.plan)
        return log_probabilities(*args, once, known, sharding.named(mesh, ""), stop.agreed)

    needed = {split: batches.seen(steps) for split, (batches, steps) in there.items()}
    return open_reference(folder, name, needed, compute, setup.job.is_first)
