"""`train status`: the state of a run's job in the queue, and the run's progress from its metrics."""

import statistics
import time
from pathlib import Path
from typing import Any

from llm_jax.runs import CONFIG, METRICS, folder_of, read_config
from train.cluster import job as jobs
from train.cluster import queue
from train.finetune import record
from train.pretrain import run_folder
from train.record import metrics
from train.record.progress import ago, clock, number, print_table

RECENT_STEPS = 50  # whose median speed gives the time left


def show(runs: Path, name: str) -> int:
    """Prints a table; returns 0.

    Raises:
        FileNotFoundError: there is neither a folder nor a job of that name.
    """
    folder = folder_of(runs, name)
    starts = jobs.starts(folder)
    known = queue.alive(name) or queue.look_up([starts[-1]["job"]] if starts else [])
    if not folder.is_dir() and not known:
        raise FileNotFoundError(f"{folder}: no such run, and no job of that name in the queue")
    rows = [("job", _describe(job)) for job in known] or [("job", "none that SLURM knows of")]
    if starts:
        rows.append(("starts", _describe_starts(starts)))
    if (folder / CONFIG).exists():
        rows += _progress(folder, _steps(folder), is_running=any(job.state == "RUNNING" for job in known))
    else:
        rows.append(("progress", "not begun"))
    print_table(f"run {name}", rows)
    return 0


def _describe(job: queue.QueuedJob) -> str:
    parts = [f"{job.number} {job.state.lower()}"]
    if job.reason not in ("", "None"):
        parts.append(job.reason)
    if job.state != "PENDING":
        parts.append(f"for {job.elapsed} on {job.nodes}")
    if job.state == "RUNNING":
        parts.append(f"time limit in {job.left}")
    return " · ".join(parts)


def _describe_starts(starts: list[dict[str, Any]]) -> str:
    last = starts[-1]
    begun = time.strftime("%F %T", time.localtime(last["time"]))
    again = len(starts) - 1
    return (
        f"{again} restart{'s' * (again != 1)} · last {begun} from step {last['from_step']:,} on {last['nodes']} "
        f"node{'s' * (last['nodes'] != 1)} × {last['processes'] // last['nodes']} processes"
    )


def _steps(folder: Path) -> int:
    """Optimizer steps of a run, whichever command began it. Raises ValueError as these do for a damaged config."""
    if read_config(folder).get("command") == record.COMMAND:
        return record.read(folder).config.steps
    return run_folder.read(folder)[0].steps


def _progress(folder: Path, steps: int, is_running: bool) -> list[tuple[str, str]]:
    lines = list(metrics.read(folder)) if (folder / METRICS).exists() else []
    lines = [line for line in lines if "train_loss" in line]  # a repaired line may hold its step alone
    if not lines:
        return [("progress", f"step 0 of {steps:,}")]
    last = lines[-1]
    measured = [line for line in lines if line.get("val_loss") is not None]
    loss = number(last["train_loss"], ".4f")
    if measured:
        loss += f" · validation {measured[-1]['val_loss']:.4f} at step {measured[-1]['step']:,}"
    rows = [
        ("progress", f"step {last['step']:,} of {steps:,} ({last['step'] / steps:.1%})"),
        ("loss", loss),
        ("record", f"last written {ago(time.time() - (folder / METRICS).stat().st_mtime)}"),
    ]
    if speeds := [line["tokens_per_second"] for line in lines[-RECENT_STEPS:] if line.get("tokens_per_second")]:
        speed = statistics.median(speeds)
        mfu = f" · MFU {last['mfu']:.1%}" if last.get("mfu") else ""
        rows.insert(2, ("speed", f"{speed:,.0f} tokens/s{mfu}"))
        if last["step"] < steps:
            left = (steps - last["step"]) * last["tokens"] / last["step"] / speed
            rows.append(("left", f"{clock(left)} of computing{'' if is_running else ', once it runs'}"))
    return rows
