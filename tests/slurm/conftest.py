"""A cluster for the session, and a project folder to submit from."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from finetuning import base, files
from slurm_cluster import Cluster, Job, missing_programs, wrapper
from small_runs import FLAGS, Run, environment, new_run, new_tuning, shards

__all__ = ["base", "environment", "files", "new_run", "new_tuning", "shards"]

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Stands in for programs of SLURM: `pretend(sbatch="echo 12")` puts a shell script on a PATH that has no others.

    Each call replaces the programs that it names, and returns the folder of all.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "env"):  # which the code under test calls itself
        (folder / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setenv("PATH", str(folder))

    def add(**programs: str) -> Path:
        for name, body in programs.items():
            (folder / name).write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{body}\n")
            (folder / name).chmod(0o755)
        return folder

    return add


@pytest.fixture(scope="session")
def cluster(environment: dict[str, str]) -> Iterator[Cluster]:
    if missing := missing_programs():
        pytest.skip(f"no {', '.join(missing)}: apt-get install slurm-wlm munge")
    # munged wants a folder that everybody can reach, and a socket's path must be short: pytest's folders are neither.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    settings = {
        "JAX_NUM_CPU_DEVICES": "1",
        "LLM_JAX_HEARTBEAT_SECONDS": "20",
        "UV_PROJECT_ENVIRONMENT": sys.prefix,
    }
    with Cluster(folder, environment | settings) as cluster:
        yield cluster
    shutil.rmtree(folder)


@dataclass(frozen=True)
class Project:
    """A folder with slurm/ in it; the code itself is that of the environment."""

    cluster: Cluster
    folder: Path

    def submit(self, script: str, *arguments: str, flags: str = "", **environment: str) -> Job:
        """`sbatch FLAGS slurm/SCRIPT.sbatch ARGUMENTS`, from this folder."""
        command = ["sbatch", "--parsable", f"--chdir={self.folder}", *flags.split(), f"slurm/{script}.sbatch"]
        done = self.cluster.run("env", "-C", str(self.folder), *command, *arguments, **environment)
        number = done.stdout.strip()
        return Job(self.cluster, number, self.log(script, number))

    def log(self, script: str, number: str) -> Path:
        """JOB, or JOB_TASK of an array."""
        return self.folder / "slurm" / "logs" / f"{script}-{number}.log"


def new_project(cluster: Cluster, folder: Path) -> Project:
    shutil.copytree(REPOSITORY / "slurm", folder / "slurm", ignore=shutil.ignore_patterns("site.env", "*.log", "job-*"))
    return Project(cluster, folder)


SLOWLY = """
import os, time
from train.cluster.signals import StopRequest
agreed = StopRequest.agreed
def agreed_after_a_moment(self):
    if "SLURM_RESTART_COUNT" not in os.environ:
        time.sleep(0.4)
    return agreed(self)
StopRequest.agreed = agreed_after_a_moment
"""


@pytest.fixture
def slowly(tmp_path: Path) -> dict[str, str]:
    """The environment of a job that waits before every step of its first start: something is to happen to it."""
    return {"LLM_JAX_CONTAINER": wrapper(tmp_path / "slowly.py", SLOWLY)}


@pytest.fixture
def project(cluster: Cluster, tmp_path: Path) -> Iterator[Project]:
    yield new_project(cluster, tmp_path)
    cluster.cancel_all()


@pytest.fixture(scope="module")
def module_project(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return new_project(cluster, tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def run_in(shards: Path) -> Callable[..., Run]:
    """What `sbatch slurm/pretrain.sbatch` is given to train a very small model, and the folder it then has."""

    def describe(project: Project, name: str, *flags: str) -> Run:
        where = ["--data", str(shards), "--runs", "runs", "--run", name]
        return Run(project.folder / "runs" / name, [*FLAGS.split(), *where, *flags], project.cluster.environment)

    return describe
