"""slurm/env.sh by itself: which project, site and environment a job gets, and one line for what is wrong."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SHOW = 'source slurm/env.sh; printf "%s\\n" "$PWD" "${python[*]}" "${HF_HUB_OFFLINE:-online}" "$(command -v python)"'


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(REPOSITORY / "slurm", tmp_path / "slurm", ignore=shutil.ignore_patterns("site.env", "job-*"))
    return tmp_path


def source(folder: Path, programs: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """What a script of this folder sees after sourcing env.sh."""
    environment = {
        "PATH": f"{programs}:/usr/bin:/bin" if programs else "/usr/bin:/bin",
        "SLURM_JOB_ID": "7",
        "SLURM_SUBMIT_DIR": str(folder),
        "UV_PROJECT_ENVIRONMENT": sys.prefix,
    }
    command = ["bash", "-euo", "pipefail", "-c", SHOW]
    return subprocess.run(command, cwd=folder, env=environment | variables, capture_output=True, text=True, timeout=30)


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_python_is_that_of_the_environment_and_caches_may_be_asked_for(folder):
    done = source(folder)
    assert done.stdout.splitlines() == [str(folder), "python", "online", f"{sys.prefix}/bin/python"]
    assert not done.stderr


def test_site_file_is_read_on_the_node(folder):
    (folder / "slurm/site.env").write_text('LLM_JAX_OFFLINE=1\nLLM_JAX_CONTAINER="apptainer exec a.sif"\n')
    assert source(folder).stdout.splitlines()[1:3] == ["apptainer exec a.sif python", "1"]


def test_project_may_be_elsewhere_than_where_one_submits(folder, tmp_path_factory):
    elsewhere = str(tmp_path_factory.mktemp("elsewhere"))
    assert source(folder, LLM_JAX_HOME=str(folder), SLURM_SUBMIT_DIR=elsewhere).stdout.startswith(f"{folder}\n")
    message = f"{elsewhere} is not the project's folder: submit from there, or set LLM_JAX_HOME"
    assert message in refused(source(folder, SLURM_SUBMIT_DIR=elsewhere))


def test_missing_site_file_is_named(folder):
    assert "LLM_JAX_SITE=nowhere.env: no such file" in refused(source(folder, LLM_JAX_SITE="nowhere.env"))


def test_log_folder_that_is_none_is_named(folder):
    shutil.rmtree(folder / "slurm/logs")
    (folder / "slurm/logs").touch()
    assert f"{folder}/slurm/logs is not a folder that can be written to" in refused(source(folder))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_log_folder_that_may_not_be_written_is_named(folder):
    (folder / "slurm/logs").chmod(0o555)
    assert f"{folder}/slurm/logs is not a folder that can be written to" in refused(source(folder))


def made(folder: Path, *packages: str) -> str:
    """An environment as `uv sync` would have left it."""
    (folder / "venv/bin").mkdir(parents=True)
    (folder / "venv/bin/python").symlink_to(sys.executable)
    for package in packages:
        (folder / "venv/lib/python3.12/site-packages" / package).mkdir(parents=True)
    return str(folder / "venv")


def test_environment_that_is_there_with_its_cuda_plugin_is_taken_as_it_is(folder, pretend):
    programs = pretend(uv="echo called >&2; exit 1")
    venv = made(folder, "jax_cuda12_plugin")
    assert source(folder, programs, UV_PROJECT_ENVIRONMENT=venv, LLM_JAX_EXTRAS="cuda12").returncode == 0
    assert source(folder, programs, UV_PROJECT_ENVIRONMENT=venv).returncode == 0


def test_environment_that_is_missing_or_lacks_the_plugin_is_made(folder, pretend):
    programs = pretend(uv=f'echo "$*" >>{folder / "uv-was-told"}')
    source(folder, programs, UV_PROJECT_ENVIRONMENT=str(folder / "none"))
    source(folder, programs, UV_PROJECT_ENVIRONMENT=made(folder), LLM_JAX_EXTRAS="cuda13")
    told = (folder / "uv-was-told").read_text().splitlines()
    assert told == ["sync --quiet --inexact", "sync --extra cuda13 --quiet --inexact"]


def test_environment_that_cannot_be_made_is_left_to_the_login_node(folder, pretend):
    none = str(folder / "none")
    cure = "run `uv sync --extra cuda12` on the login node"
    assert cure in refused(source(folder, UV_PROJECT_ENVIRONMENT=none, LLM_JAX_EXTRAS="cuda12"))
    programs = pretend(uv="exit 2")
    assert "`uv sync` failed: run it on the login node" in refused(
        source(folder, programs, UV_PROJECT_ENVIRONMENT=none)
    )
