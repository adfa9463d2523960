"""Where this process stands among the tasks of its SLURM job step, and which GPUs of the node are its own.

Everything is read from the environment that srun gives each task. JAX's own detection assumes one task per GPU and
takes `SLURM_LOCALID` for the number of the GPU. One task per node then silently uses the first GPU alone (jax#16788),
and under `--gpus-per-task`, where each task is shown only its own GPU, as number 0, all tasks but the first fail
(jax#23452, #28194). Here the GPUs that a process can see are counted first and shared out among the tasks of its node.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SCRIPT = "slurm/pretrain.sbatch"


@dataclass(frozen=True)
class Place:
    """One task of a job step. Everything is counted from 0."""

    job: str
    step: str
    restarts: int  # how often SLURM has started this job again
    process: int  # among all tasks of the step
    processes: int
    local_process: int  # among the tasks of this node
    local_processes: int
    node: int
    nodes: int
    node_name: str
    gpus_on_node: int | None  # that SLURM gave the job on this node; None if none were asked for

    @property
    def is_first(self) -> bool:
        return self.process == 0

    @property
    def attempt(self) -> str:
        """Names this step of this start of the job; no two at once share it."""
        return f"{self.job}.{self.step}-{self.restarts}"


def here(environment: Mapping[str, str]) -> Place | None:
    """The place of this process, or None outside of a job step.

    Raises ValueError for several tasks without srun: each would take itself for the only one.
    """
    if "SLURM_STEP_ID" not in environment or "SLURM_PROCID" not in environment:
        tasks = environment.get("SLURM_NTASKS", "1")
        if "SLURM_JOB_ID" in environment and tasks != "1":
            raise ValueError(
                f"SLURM gave this job {tasks} tasks, but srun did not start this process, so it would train alone: "
                f"put srun before python in your script, as in {SCRIPT}, or ask for --ntasks=1"
            )
        return None
    node = int(environment["SLURM_NODEID"])
    tasks_per_node = expand_counts(environment["SLURM_STEP_TASKS_PER_NODE"])
    gpus = environment.get("SLURM_GPUS_ON_NODE", "")
    return Place(
        job=environment["SLURM_JOB_ID"],
        step=environment["SLURM_STEP_ID"],
        restarts=int(environment.get("SLURM_RESTART_COUNT", "0")),
        process=int(environment["SLURM_PROCID"]),
        processes=int(environment["SLURM_STEP_NUM_TASKS"]),
        local_process=int(environment["SLURM_LOCALID"]),
        local_processes=tasks_per_node[node],
        node=node,
        nodes=len(tasks_per_node),
        node_name=environment.get("SLURMD_NODENAME", ""),
        gpus_on_node=int(gpus) if gpus.isdigit() else None,
    )


def expand_counts(text: str) -> list[int]:
    """SLURM's run-length lists: "2(x3),1" is 2, 2, 2, 1."""
    counts: list[int] = []
    for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", text):
        counts += [int(count)] * int(times or 1)
    return counts


def visible_gpus(environment: Mapping[str, str], devices: Path = Path("/dev")) -> int:
    """How many NVIDIA GPUs this process can see: those it was told of, or else the device files there are."""
    told = environment.get("CUDA_VISIBLE_DEVICES")
    if told is None:
        return sum(bool(re.fullmatch(r"nvidia\d+", path.name)) for path in devices.glob("nvidia*"))
    return len([name for name in told.split(",") if name and name not in ("-1", "NoDevFiles")])


def local_gpus(place: Place, visible: int) -> list[int] | None:
    """Which of the `visible` GPUs are this process's own, by number; None means all of them.

    Raises ValueError when they cannot be shared out evenly among the tasks of the node.
    """
    tasks = place.local_processes
    if visible == 0 or tasks == 1:
        return None
    given = place.gpus_on_node or visible
    if visible < given and visible == max(1, given // tasks):
        return None  # --gpus-per-task or --gpu-bind: SLURM has shared them out already
    if visible % tasks:
        raise ValueError(
            f"node {place.node_name} runs {tasks} tasks and shows each of them {visible} GPUs, which cannot be shared "
            f"out evenly: in the srun line of {SCRIPT}, --ntasks-per-node must be 1 or divide the {visible} GPUs; "
            f"submit with --ntasks-per-node={visible}"
        )
    share = visible // tasks
    return list(range(place.local_process * share, (place.local_process + 1) * share))


def check_devices(place: Place, platform: str, found: int) -> None:
    """Compares the devices of this process, as JAX sees them, with what SLURM gave; raises ValueError if they differ.

    `platform` is JAX's name for their kind, `found` their number.
    """
    if not place.gpus_on_node:
        return
    if platform == "cpu":
        raise ValueError(
            f"SLURM gave node {place.node_name} {place.gpus_on_node} GPUs, but JAX sees none: set "
            "LLM_JAX_EXTRAS=cuda12 (or cuda13) in slurm/site.env, which slurm/env.sh installs by; or, to train on the "
            "CPU on purpose, set JAX_PLATFORMS=cpu"
        )
    if place.gpus_on_node % place.local_processes:
        raise ValueError(
            f"SLURM gave node {place.node_name} {place.gpus_on_node} GPUs for {place.local_processes} tasks: submit "
            f"{SCRIPT} with --ntasks-per-node={place.gpus_on_node} (one process per GPU) or 1 (one per node)"
        )
    expected = place.gpus_on_node // place.local_processes
    if found != expected:
        raise ValueError(
            f"process {place.process} on node {place.node_name} sees {found} GPUs; SLURM gave the node "
            f"{place.gpus_on_node} for {place.local_processes} tasks, which makes {expected}: ask for them with "
            f"--gpus-per-node (SBATCH_GPUS_PER_NODE in slurm/site.env), not --gpus-per-task, --gpu-bind or "
            f"CUDA_VISIBLE_DEVICES, and leave the srun line of {SCRIPT} as it is"
        )
