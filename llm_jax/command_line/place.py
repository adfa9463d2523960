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
HOW = (
    f"Start it as {SCRIPT} does, with srun, and let the container or `env` keep all variables SLURM_*; or, to run it "
    "alone, unset all of them"
)


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
        """A name for this step and this start of the job, unique among all that run at the same time."""
        return f"{self.job}.{self.step}-{self.restarts}"


def here(environment: Mapping[str, str]) -> Place | None:
    """The place of this process, or None outside of a job step.

    Raises ValueError, which names the variable, for several tasks without srun (each would take itself for the only
    one), for a step whose variables are missing or contradict each other, and for a heterogeneous job.
    """
    _refuse_heterogeneous(environment)
    if "SLURM_STEP_ID" not in environment or "SLURM_PROCID" not in environment:
        if environment.get("SLURM_STEP_NUM_TASKS", "1") != "1":  # only srun sets it
            raise ValueError(_missing("SLURM_PROCID" if "SLURM_STEP_ID" in environment else "SLURM_STEP_ID"))
        tasks = environment.get("SLURM_NTASKS", "1")
        if "SLURM_JOB_ID" in environment and tasks != "1":
            raise ValueError(
                f"SLURM gave this job {tasks} tasks, but srun did not start this process, so it would work alone: "
                f"put srun before python in your script, as in {SCRIPT}, or ask for --ntasks=1 (SLURM_NTASKS)"
            )
        return None
    process = _count(environment, "SLURM_PROCID")
    processes = _count(environment, "SLURM_STEP_NUM_TASKS", instead="SLURM_NTASKS")
    tasks_per_node = _tasks_per_node(environment, processes)
    node = 0 if len(tasks_per_node) == 1 else _count(environment, "SLURM_NODEID")
    local_process = process if len(tasks_per_node) == 1 else _count(environment, "SLURM_LOCALID")
    _refuse_beyond("SLURM_PROCID", process, processes, "tasks of the step")
    _refuse_beyond("SLURM_NODEID", node, len(tasks_per_node), "nodes of SLURM_STEP_TASKS_PER_NODE")
    _refuse_beyond("SLURM_LOCALID", local_process, tasks_per_node[node], "tasks of its node")
    return Place(
        job=_required(environment, "SLURM_JOB_ID", instead="SLURM_JOBID"),
        step=environment["SLURM_STEP_ID"],
        restarts=_count({"SLURM_RESTART_COUNT": "0", **environment}, "SLURM_RESTART_COUNT"),
        process=process,
        processes=processes,
        local_process=local_process,
        local_processes=tasks_per_node[node],
        node=node,
        nodes=len(tasks_per_node),
        node_name=environment.get("SLURMD_NODENAME", ""),
        gpus_on_node=_count(environment, "SLURM_GPUS_ON_NODE") if environment.get("SLURM_GPUS_ON_NODE") else None,
    )


def _refuse_heterogeneous(environment: Mapping[str, str]) -> None:
    """Each component numbers its tasks from 0, so each would train a run of its own, all in one folder."""
    for name in ("SLURM_HET_SIZE", "SLURM_PACK_SIZE"):
        if environment.get(name, "1") not in ("0", "1", ""):
            raise ValueError(
                f"this is a heterogeneous job of {environment[name]} components ({name}), which cannot train one run: "
                f"submit {SCRIPT} as it is, without ':' between options and without #SBATCH hetjob"
            )
    groups = sorted(name for name in environment if re.fullmatch(r"SLURM_\w+_(HET|PACK)_GROUP_[1-9]\d*", name))
    if groups:
        raise ValueError(
            f"this is a heterogeneous job ({groups[0]} is set), which cannot train one run: submit {SCRIPT} as it is, "
            "without ':' between options and without #SBATCH hetjob"
        )


def _tasks_per_node(environment: Mapping[str, str], processes: int) -> list[int]:
    """The tasks on each node of the step. If the variable is missing, there must be one task, or one node."""
    name = "SLURM_STEP_TASKS_PER_NODE"
    if name not in environment:
        nodes = environment.get("SLURM_STEP_NUM_NODES", environment.get("SLURM_NNODES", ""))
        if processes == 1 or nodes == "1":
            return [processes]
        raise ValueError(_missing(name))
    counts = expand_counts(environment[name])
    if sum(counts) != processes or 0 in counts:
        raise ValueError(
            f"{name} is {environment[name]!r}, which is not {processes} tasks in all (SLURM_STEP_NUM_TASKS). {HOW}"
        )
    return counts


def _count(environment: Mapping[str, str], name: str, instead: str = "") -> int:
    value = _required(environment, name, instead)
    if not (value.isascii() and value.isdigit()):
        raise ValueError(f"{name} is {value!r}; expected a number. {HOW}")
    return int(value)


def _required(environment: Mapping[str, str], name: str, instead: str = "") -> str:
    value = environment.get(name) or environment.get(instead)
    if not value:
        raise ValueError(_missing(name))
    return value


def _refuse_beyond(name: str, number: int, count: int, what: str) -> None:
    if number >= count:
        raise ValueError(f"{name} is {number}, but there are {count} {what}. {HOW}")


def _missing(name: str) -> str:
    return f"{name} is not set, though this process is a task of a SLURM job step. {HOW}"


def expand_counts(text: str) -> list[int]:
    """SLURM's run-length lists: "2(x3),1" is 2, 2, 2, 1. Raises ValueError for anything else."""
    if not re.fullmatch(r"\d{1,6}(\(x\d{1,6}\))?(,\d{1,6}(\(x\d{1,6}\))?)*", text, re.ASCII):
        raise ValueError(f"SLURM_STEP_TASKS_PER_NODE is {text!r}; expected a list such as 2(x3),1. {HOW}")
    counts: list[int] = []
    for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", text):
        counts += [int(count)] * int(times or 1)
    return counts


def visible_gpus(environment: Mapping[str, str], devices: Path = Path("/dev")) -> int:
    """How many NVIDIA GPUs this process can see: as many as CUDA_VISIBLE_DEVICES lists, or else as device files."""
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
