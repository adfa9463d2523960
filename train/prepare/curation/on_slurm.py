"""The chain of curation as SLURM job arrays, each of which waits for the one before it.

datatrove's executor writes a batch script for every stage and submits it. Its tasks source slurm/env.sh first, as all
jobs of this project do, which sets the site's modules, caches and network. When a task fails, SLURM cancels the stages
that wait for it. The same command then continues with the tasks that are not done.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llm_jax.files.json_files import read_json, write_json
from train.cluster import queue
from train.cluster.site import PREFIX, directives, read_site
from train.prepare.curation import report
from train.prepare.curation.config import CurationConfig
from train.prepare.curation.stage import FILTER, Stage, logs_of, redirect_stderr, work_of

SUBMITTED = "jobs.json"  # job numbers of the last submission, in the order of the stages
ENVIRONMENT = "slurm/env.sh"
TIME = "12:00:00"


def check(options: CurationConfig) -> None:
    """Checks what is possible before datatrove is imported.

    Raises:
        FileNotFoundError: SLURM or slurm/env.sh is missing.
        ValueError: an earlier submission for the same folder is still running.
    """
    queue.require_slurm("run it here: --executor local")
    script = Path.cwd() / ENVIRONMENT
    if not script.is_file():
        raise FileNotFoundError(f"{script} does not exist: submit from the project's folder")
    path = work_of(options) / SUBMITTED
    numbers = read_json(path, kind=list) if path.exists() else []
    for job in queue.look_up(numbers[-1:]):  # the last stage waits until all others are done
        if job.is_alive:
            raise ValueError(
                f"job {numbers[-1]} ({job.state.lower()}) and those before it are already working on {options.out}: "
                f"wait for it, or `scancel {' '.join(numbers)}`"
            )


def submit(options: CurationConfig, chain: Sequence[Stage]) -> int:
    """Submits the stages that are not done; returns 0.

    Raises:
        ValueError: no partition is given, and the cluster has no default.
        RuntimeError: sbatch refuses a stage.
    """
    from datatrove.executor import SlurmPipelineExecutor

    project = Path.cwd()
    site = directives(read_site(None, project))
    partition = options.partition or site.get("partition") or queue.default_partition()
    if not partition:
        raise ValueError("--partition is missing, and this cluster has no default: sinfo lists them")
    account = {"account": site["account"]} if "account" in site else {}
    begin = f"export UV_PROJECT_ENVIRONMENT={shlex.quote(sys.prefix)}; source {shlex.quote(str(project / ENVIRONMENT))}"
    executors: list[Any] = []
    for stage in chain:
        executor = SlurmPipelineExecutor(
            list(stage.steps),
            tasks=stage.tasks,
            time=options.time or site.get("time", TIME),
            partition=partition,
            mem_per_cpu_gb=options.gigabytes_per_task,
            workers=options.workers or -1,
            job_name=f"curate-{stage.name}",
            qos=site.get("qos", ""),
            env_command=begin,
            sbatch_args={**account, "kill-on-invalid-dep": "yes"},
            depends=executors[-1] if executors else None,
            logging_dir=str(logs_of(options, stage.name)),
        )
        executors.append(executor)
    _launch(options, executors)
    numbers = [number for number in map(_number, executors) if number]
    statistics = logs_of(options, FILTER) / report.FILE_NAME
    if not numbers:
        print(f"{options.out}: every stage is done already")
        if statistics.exists():
            print(report.removals(statistics.parent), end="")
        return 0
    print(f"{len(numbers)} of {len(chain)} stages submitted; follow: squeue --me; logs: {work_of(options) / 'logs'}")
    print(f"the last, job {numbers[-1]}, writes the shards to {options.out}")
    print(f"documents that each filter removes: {statistics}")
    return 0


def _launch(options: CurationConfig, executors: Sequence[Any]) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]  # for sbatch they override the settings in the executor's scripts
    logs = work_of(options) / "logs"
    try:
        with redirect_stderr(logs):
            executors[-1].run()  # submits the stages that it depends on first
    except subprocess.CalledProcessError:  # the log has sbatch's reason
        lines = (logs / "output.log").read_text().splitlines()
        reason = next((line for line in reversed(lines) if "sbatch: error:" in line), "sbatch gives no reason")
        numbers = [number for number in map(_number, executors) if number]
        dropped = f"; the {len(numbers)} stages before it are cancelled" if numbers else ""
        subprocess.run(["scancel", *numbers], check=False, capture_output=True)
        raise RuntimeError(f"sbatch refused a stage: {reason.removeprefix('sbatch: error: ')}{dropped}") from None
    finally:
        write_json(work_of(options) / SUBMITTED, [number for number in map(_number, executors) if number])


def _number(executor: Any) -> str | None:
    """The job's number; None for a stage that is done already (-1) or was not submitted."""
    return None if executor.job_id in (None, -1) else str(executor.job_id)
