"""`train quickstart`, station by station. Each station calls one public function of this project.

prepare → measure the speed → pretrain → compare with a 5-gram model → export → summary
"""

import dataclasses
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from llm_jax import hf, sharding, tokenizer
from llm_jax.files.json_files import write_json
from llm_jax.models import decoder
from llm_jax.runs import CONFIG, EXPORT, LOSS_PLOT, SAMPLES, SUMMARY, folder_of
from train.cluster import devices
from train.data.loader import TokenBatches
from train.data.manifest import Manifest
from train.optim.optimizer import make_optimizer
from train.prepare.config import PrepareConfig
from train.prepare.preparation import prepare
from train.pretrain import build, run_folder
from train.pretrain.config import RunOptions, TrainConfig
from train.pretrain.measure.evaluate import validation_windows
from train.pretrain.presets import quickstart
from train.quickstart.baseline import ngram_bits_per_byte
from train.quickstart.config import QuickstartConfig
from train.record import metrics

TOKENIZER = "train:4096"
CALIBRATION_SECONDS = 3.0
RESERVE_SECONDS = 20.0  # for the stations after training: 5-gram model, export, verification
RESERVE_FRACTION = 0.15  # of the minutes, because a machine's speed varies


def run_stations(options: QuickstartConfig) -> int:
    """Runs the stations in order and prints the results; returns the exit status.

    Raises:
        FileExistsError: a run of that name is finished already.
    """
    started = time.monotonic()
    console = Console(soft_wrap=True)
    folder = folder_of(options.runs, options.run)
    if (folder / SUMMARY).exists():
        raise FileExistsError(f"{folder} is finished already: remove it, or choose another name (--run)")

    console.rule("1  text → tokenizer → token shards", align="left")
    manifest = _prepare(options, folder, console)
    console.rule("2  training", align="left")
    deadline = started + 60 * options.minutes * (1 - RESERVE_FRACTION) - RESERVE_SECONDS
    config = _choose_config(options, folder, manifest, deadline)
    where = RunOptions(data=manifest.folder, run=options.run, runs=options.runs, auto_resume=True)
    status = build.pretrain(where, config)
    if status:
        return status
    console.rule("3  baseline: a 5-gram model", align="left")
    summary = _summarise(folder, manifest, config)
    console.rule("4  export to Hugging Face format", align="left")
    report = hf.export_run(folder, folder / EXPORT, overwrite=True)
    summary |= {"hf_dir": str(report.out), "hf_max_abs_logit_diff": report.max_abs_logit_diff}
    summary = {"seconds": round(time.monotonic() - started, 1), **summary}
    write_json(folder / SUMMARY, summary)
    _show(console, folder, summary, options.run)
    return 0


def _prepare(options: QuickstartConfig, folder: Path, console: Console) -> Manifest:
    source = str(options.data) if options.data else "stdlib"
    if options.data and options.data.is_dir():
        from train.data.integrity import open_data

        return open_data(options.data)
    return prepare(PrepareConfig(source=(source,), out=folder / "data", tokenizer=TOKENIZER), console)


def _choose_config(options: QuickstartConfig, folder: Path, manifest: Manifest, deadline: float) -> TrainConfig:
    """The config of a run that has begun; for a new run, one with as many steps as fit before the deadline."""
    if (folder / CONFIG).exists():
        return run_folder.read(folder)[0]
    config = dataclasses.replace(quickstart(), seed=options.seed)
    config = dataclasses.replace(
        config, model=dataclasses.replace(config.model, vocab_size=manifest.tokenizer.vocab_size)
    )
    seconds_per_step = _time_step(config, manifest)
    cadence = config.cadence
    # Per token, an evaluation costs a forward pass: a third of a training step.
    evaluations = 8
    evaluation_steps = evaluations * cadence.eval_tokens / config.batch_tokens / 3
    every = max(5, int((deadline - time.monotonic()) / seconds_per_step - evaluation_steps) // evaluations)
    steps = evaluations * every
    return dataclasses.replace(
        config,
        steps=steps,
        schedule=dataclasses.replace(config.schedule, warmup_steps=min(config.schedule.warmup_steps, steps // 10)),
        cadence=dataclasses.replace(
            cadence, eval_every=every, sample_every=2 * every, checkpoint_every=2 * every, log_every=max(1, every // 4)
        ),
    )


def _time_step(config: TrainConfig, manifest: Manifest) -> float:
    """Median seconds of a training step.

    Steps are timed for a few seconds, so that a short load on the machine does not decide the length of the run. The
    compiled step stays in the compilation cache, and the run loads it from there.
    """
    job = devices.open_job(config.mesh, config.model)
    letters: Any = decoder.dimension_letters(config.model)
    optimizer = make_optimizer(config.optimizer, letters)
    plan = decoder.make_plan(config.execution, sharding.Constrain(job.mesh))
    step, initialise = build.compile_step(config, plan, optimizer, job)
    tokens = TokenBatches(manifest, "train", config.model.context_length, config.batch_size, config.seed).batch(0)
    state = initialise(jax.random.key(config.seed))
    times = []
    while len(times) < 6 or sum(times) < CALIBRATION_SECONDS:
        before = time.monotonic()
        state, measured = step(state, tokens, np.float32(0))
        measured.loss.block_until_ready()
        times.append(time.monotonic() - before)
    return float(np.median(times[1:]))


def _summarise(folder: Path, manifest: Manifest, config: TrainConfig) -> dict[str, Any]:
    lines = list(metrics.read(folder))
    last = lines[-1]
    vocabulary = tokenizer.load(manifest.folder)
    recent = lines[-max(1, len(lines) // 20) :]
    tail = [line["train_loss"] for line in recent if line.get("train_loss") is not None]
    speeds = [line["tokens_per_second"] for line in lines if "tokens_per_second" in line]
    return {
        "tokens_seen": last["tokens"],
        "train_loss": float(np.mean(tail)),
        "val_loss": last["val_loss"],
        "val_bits_per_byte": last["val_bits_per_byte"],
        "ngram5_bits_per_byte": ngram_bits_per_byte(manifest, vocabulary, config, validation_windows(manifest, config)),
        "tokens_per_second": round(float(np.median(speeds)), 1),
    }


def _show(console: Console, folder: Path, summary: dict[str, Any], run: str) -> None:
    better = summary["val_bits_per_byte"] < summary["ngram5_bits_per_byte"]
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for row in (
        ("GPT", f"{summary['val_bits_per_byte']:.3f} bits per byte of validation text"),
        ("5-gram", f"{summary['ngram5_bits_per_byte']:.3f}, counted on the bytes the GPT has seen"),
        ("verdict", "the GPT is better" if better else "the GPT is worse: give it more --minutes"),
        ("export", f"{summary['hf_dir']}, logits differ by at most {summary['hf_max_abs_logit_diff']:.1e}"),
        ("time", f"{summary['seconds']:.0f} s, {summary['tokens_per_second']:,.0f} tokens/s in training"),
        ("look at", f"{folder / LOSS_PLOT}, {folder / SAMPLES}, {folder / SUMMARY}"),
    ):
        table.add_row(*row)
    console.rule("done", align="left")
    console.print(table)
    console.print("\nThree commands to try next:")
    for command in (
        f'python -m serve generate {folder} --prompt "def main("',
        f"python -m train quickstart --run {run}-longer --minutes 15",
        "python -m train prepare --source hf:HuggingFaceFW/fineweb --out data/fineweb",
    ):
        console.print(f"  uv run {command}", markup=False, highlight=False)
