"""`train submit`: fills directives and arguments into a script of slurm/, checks them, and passes it to sbatch.

Mistakes that can be found on the login node are refused there, before the job waits for hours in a queue: a wrong flag,
missing data, a folder that cannot be written to, more GPUs than any node has, a run that another job is training.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from llm_jax.files import write
from llm_jax.runs import folder_of
from train import commands
from train.cluster import queue
from train.cluster.site import directives, read_site, without_directives
from train.submit.config import COMMANDS, SubmitConfig

LOGS = Path("slurm/logs")
TRAINING = ("pretrain", "finetune")  # commands that train a run
SOURCE_LINE = re.compile(r"^source .*$", re.MULTILINE)


def submit(options: SubmitConfig) -> int:
    """Submits the script, or prints it for a dry run; returns 0.

    Raises:
        ValueError: an option or an argument is wrong, the cluster is too small, or another job trains the same run.
        OSError: a script, the data or SLURM is missing, or the folder of logs cannot be written to.
        RuntimeError: sbatch refuses the job.
    """
    project = Path.cwd()
    script = _script(project, options.command)
    environment = read_site(options.site, project)
    name = options.name or _check_arguments(options)
    filled = _fill(options, name, directives(environment))
    text = render(script, filled, options.arguments)
    if options.dry_run:
        print(text, end="")
        return 0
    queue.require_slurm(f"start it here: {front_door(options)}")
    _check_logs(project / LOGS)
    _check_gpus(filled)
    _check_nodes(filled)
    if options.command in TRAINING:
        _refuse_run_in_use(name)
    number = _sbatch(text, without_directives(environment), project)
    log = LOGS / filled["output"].rsplit("/", 1)[-1].replace("%x", name).replace("%j", number).replace("%A", number)
    write(project / LOGS / f"{name}-{number}.sbatch", text)
    print(_how_to_follow(options, name, number, str(log).replace("%a", "*")))
    return 0


def front_door(options: SubmitConfig) -> str:
    """The command that the script runs, as one would type it in a shell."""
    package = "serve" if options.command in ("export", "evaluate", "serve") else "train"
    command = "vllm" if options.command == "serve" else options.command
    return shlex.join(["python", "-m", package, command, *options.arguments])


def render(script: str, filled: Mapping[str, str], arguments: tuple[str, ...]) -> str:
    """The script with the directives `filled` in place of its own, and with the arguments of the command."""
    lines = [line for line in script.splitlines() if not line.startswith("#SBATCH ")]
    border = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    header = [f"#SBATCH --{name}={value}" if value else f"#SBATCH --{name}" for name, value in filled.items()]
    text = "\n".join([*lines[:border], *header, *lines[border:]]) + "\n"
    if not arguments:
        return text
    return SOURCE_LINE.sub(lambda line: f"set -- {shlex.join(arguments)}\n{line[0]}", text, count=1)


def own_directives(script: str) -> dict[str, str]:
    """The #SBATCH directives of a script."""
    return {name: value for name, _, value in re.findall(r"^#SBATCH --([\w-]+)(=(\S+))?", script, re.MULTILINE)}


def _script(project: Path, command: str) -> str:
    if command not in COMMANDS:
        raise ValueError(f"submit: expected one of {', '.join(COMMANDS)}; got {command or 'nothing'}")
    path = project / "slurm" / f"{command}.sbatch"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: submit from the project's folder")
    return path.read_text()


def _fill(options: SubmitConfig, name: str, site: dict[str, str]) -> dict[str, str]:
    """All directives: the site's replace the script's own, and the command line's replace both."""
    own = own_directives(_script(Path.cwd(), options.command))
    site = {key: value for key, value in site.items() if key != "gpus-per-node" or _wants_gpus(options.command)}
    requested = {
        "job-name": name,
        "nodes": str(options.nodes) if options.command != "prepare" else None,
        "gpus-per-node": _text(options.gpus_per_node),
        "ntasks-per-node": _text(options.tasks_per_node),
        "cpus-per-task": _text(options.cpus_per_task),
        "time": options.time,
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "array": options.array,
    }
    filled = {**own, **site, **{key: value for key, value in requested.items() if value is not None}}
    for directive in options.sbatch:
        key, _, value = directive.removeprefix("--").partition("=")
        filled[key] = value
    return filled


def _wants_gpus(command: str) -> bool:
    return command not in ("prepare", "export")


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


def _check_arguments(options: SubmitConfig) -> str:
    """Parses the arguments of a command of `train`, to find mistakes now; returns the job's name."""
    arguments = list(options.arguments)
    if options.command == "pretrain":
        from train.pretrain import command as pretrain

        where = pretrain.parse([*arguments, "--auto-resume"]).where  # as the script does
        folder_of(where.runs, where.run)
        if not where.data.exists():
            raise FileNotFoundError(
                f"--data {where.data}: no such folder or file; make it with python -m train prepare"
            )
        return where.run
    if options.command == "finetune":
        from train.finetune import command as finetune

        asked = finetune.parse([*arguments, "--auto-resume"])
        folder_of(asked.where.runs, asked.where.run)
        finetune.refuse_missing(asked)
        return asked.where.run
    if options.command in ("prepare", "jupyter"):
        import importlib

        import tyro

        module = importlib.import_module(commands.COMMANDS[options.command][0])
        tyro.cli(module.Options, args=arguments, prog=f"python -m train {options.command}")
    return options.command


def _check_logs(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(
            f"{folder} is a file, but jobs need a folder of this name for their logs: move the file away"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(
            f"cannot write to {folder}, the folder of the job's log: {error.strerror}; submit from a copy of the "
            "project that you may write to"
        ) from error


def _check_gpus(filled: Mapping[str, str]) -> None:
    requested = re.search(r"(\d+)$", filled.get("gpus-per-node", ""))
    most = queue.most_gpus(filled.get("partition"))
    if requested and most is not None and int(requested[1]) > most:
        raise ValueError(
            f"--gpus-per-node {requested[1]}: no node of {_where(filled)} has more than {most}; take more --nodes "
            "instead"
        )


def _check_nodes(filled: Mapping[str, str]) -> None:
    """Raises ValueError for more nodes than there are. sbatch would accept such a job, and it would wait for ever."""
    requested, most = filled.get("nodes", ""), queue.count_nodes(filled.get("partition"))
    if requested.isdigit() and most is not None and int(requested) > most:
        raise ValueError(f"--nodes {requested}: {_where(filled)} has {most}; take fewer, or another --partition")


def _where(filled: Mapping[str, str]) -> str:
    return f"partition {filled['partition']}" if "partition" in filled else "this cluster"


def _refuse_run_in_use(run: str) -> None:
    for job in queue.alive(run):
        raise ValueError(
            f"job {job.number} ({job.state.lower()}) is already training run {run}: wait for it, `scancel "
            f"{job.number}`, or name another --run"
        )


def _sbatch(text: str, environment: dict[str, str], project: Path) -> str:
    command = ["sbatch", "--parsable"]
    done = subprocess.run(command, input=text, env=environment, cwd=project, capture_output=True, text=True)
    if done.returncode:
        reason = " ".join(done.stderr.replace("sbatch: error:", "").split())
        raise RuntimeError(f"sbatch refused the job: {reason}; see it with --dry-run")
    return done.stdout.strip().split(";")[0]


def _how_to_follow(options: SubmitConfig, name: str, number: str, log: str) -> str:
    lines = [f"job {number} ({name})", f"log      {log}", f"follow   tail -F {log}"]
    if options.command in TRAINING:
        lines.append(f"status   python -m train status {name}")
        lines.append(f"save     scancel --signal=TERM {number}      saves now; the job continues in the queue")
    return "\n".join([*lines, f"cancel   scancel {number}"])
