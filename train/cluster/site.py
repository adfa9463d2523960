"""The settings of a cluster: the environment that is left after bash has sourced slurm/site.env.

sbatch itself reads variables such as `SBATCH_PARTITION`: they override the script's directives, and its command line
overrides them. `train submit` turns them into directives, so that the script it shows holds all that applies.
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

PREFIX = "SBATCH_"
OTHER_NAMES = {"TIMELIMIT": "time", "MEM_PER_NODE": "mem", "ARRAY_INX": "array"}
NOT_DIRECTIVES = ("DEBUG", "OPEN_MODE", "REQUEUE", "NO_REQUEUE", "SIGNAL", "OUTPUT", "ERROR")  # the scripts decide


def read_site(file: Path | None, project: Path) -> dict[str, str]:
    """The environment after sourcing `file`, by default the project's site.env, or as it is if there is none.

    Raises FileNotFoundError for a file that was named and is not there, ValueError for one that bash cannot source.
    """
    path = file or Path(os.environ.get("LLM_JAX_SITE") or project / "slurm" / "site.env")
    if not path.is_file():
        if file or "LLM_JAX_SITE" in os.environ:
            raise FileNotFoundError(f"{path}: no such site file; copy slurm/site.env.example there and fill it in")
        return dict(os.environ)
    command = ["bash", "-c", 'set -eu; source "$1" >&2; env -0', "bash", str(path.absolute())]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"{path}: bash cannot source it: {done.stderr.strip()}")
    return dict(line.split("=", 1) for line in done.stdout.split("\0") if "=" in line)


def directives(environment: Mapping[str, str]) -> dict[str, str]:
    """The site's sbatch options, under their long names: SBATCH_TIMELIMIT=1:00 is {"time": "1:00"}."""
    found = {}
    for name, value in sorted(environment.items()):
        short = name.removeprefix(PREFIX)
        if name.startswith(PREFIX) and short not in NOT_DIRECTIVES:
            found[OTHER_NAMES.get(short, short.lower().replace("_", "-"))] = value
    return found


def without_directives(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for sbatch, without the variables that would override the script's directives."""
    return {name: value for name, value in environment.items() if not name.startswith(PREFIX)}
