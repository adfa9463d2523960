"""`train submit --dry-run` shows exactly what would be handed to sbatch, and what can be known to be wrong is refused.

The golden files are refreshed by `REFRESH=1 pytest tests/slurm/test_submit.py`; look at the difference afterwards.
"""

import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from llm_jax.command_line import run
from train.__main__ import COMMANDS
from train.submit.command import Options

REPOSITORY = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent / "golden"

SITE = """
export SBATCH_PARTITION=gpu SBATCH_ACCOUNT=physics
export SBATCH_TIMELIMIT=4:00:00 SBATCH_GPUS_PER_NODE=8
"""

CASES = {
    "two-nodes": "pretrain gpt2-124m --nodes 2 --gpus-per-node 8 --time 12:00:00 -- --data data --run first",
    "one-process-per-node": "pretrain gpt2-124m --gpus-per-node 4 --tasks-per-node 1 -- --data data --seed 2",
    "site": "pretrain gpt2-nano --site site.env --time 1-0 -- --data data",
    "finetune": "finetune owner/model --gpus-per-node 1 -- --data data --run tuned --lora.rank 16",
    "array": "prepare --site site.env --array 0-31 -- --source 'a b/*.parquet' --out data/corpus",
    "directives": "evaluate runs/first --sbatch=--exclusive --sbatch=--mem=0 --name score -- --tasks hellaswag",
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    shutil.copytree(REPOSITORY / "slurm", tmp_path / "slurm", ignore=shutil.ignore_patterns("site.env", "*.log"))
    (tmp_path / "data").mkdir()
    (tmp_path / "site.env").write_text(SITE)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("SBATCH_", "LLM_JAX_SITE"))]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def slurm(project, pretend):
    """A cluster of two nodes with eight GPUs each, and nothing in the queue."""
    sinfo = 'case "$*" in *%G) echo "gpu:h100:8(S:0-1)" ;; *%N) printf "n1\\nn2\\nn2\\n" ;; esac'
    pretend(sbatch="cat >submitted; env >environment; echo 12", squeue="", sinfo=sinfo)
    return pretend


def submit(line: str) -> int:
    return run("python -m train", "", COMMANDS, ["submit", *shlex.split(line)])


@pytest.mark.parametrize("name", CASES)
def test_dry_run_shows_the_golden_script(name, project, capsys):
    assert submit(f"{CASES[name].replace(' -- ', ' --dry-run -- ')}") == 0
    shown, golden = capsys.readouterr().out, GOLDEN / f"{name}.sbatch"
    if os.environ.get("REFRESH"):
        golden.write_text(shown)
    assert shown == golden.read_text()


def test_what_is_submitted_is_what_the_dry_run_shows(project, slurm, capsys):
    assert submit(CASES["site"]) == 0
    said = capsys.readouterr().out
    assert "job 12 (gpt2-nano)" in said
    assert "tail -F slurm/logs/gpt2-nano-12.log" in said
    assert "python -m train status gpt2-nano" in said
    assert (project / "submitted").read_text() == (GOLDEN / "site.sbatch").read_text()
    assert (project / "slurm/logs/gpt2-nano-12.sbatch").read_text() == (GOLDEN / "site.sbatch").read_text()


def test_environment_of_the_site_does_not_override_the_script(project, slurm, monkeypatch):
    """sbatch ranks SBATCH_TIMELIMIT above #SBATCH --time."""
    monkeypatch.setenv("SBATCH_TIMELIMIT", "1:00")
    assert submit(CASES["two-nodes"]) == 0
    assert "SBATCH_" not in (project / "environment").read_text()
    assert "#SBATCH --time=12:00:00" in (project / "submitted").read_text()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("pretrain gpt2-nano --site nowhere.env -- --data data", "nowhere.env: no such site file; copy slurm/site.env"),
        (
            "pretrain gpt2-nano -- --data nowhere",
            "--data nowhere: no such folder or file; make it with python -m train",
        ),
        ("pretrain gpt2-nano --gpus-per-node 9 -- --data data", "--gpus-per-node 9: no node of this cluster has more"),
        ("pretrain gpt2-nano --nodes 3 -- --data data", "--nodes 3: this cluster has 2; take fewer, or another"),
        ("pretrain gpt3 -- --data data", "unknown preset 'gpt3'"),
        ("pretrain gpt2-nano -- --data data --run a/b", "a run's name is made of letters"),
        ("finetune owner/model -- --data nowhere --run tuned", "--data nowhere: no such file or folder"),
        ("finetune runs/nowhere -- --data data --run tuned", "runs/nowhere: no such run or Hugging Face directory"),
        ("finetune owner/model -- --data data", "no --run given"),
        ("bake -- --data data", "expected one of pretrain, prepare, .*; got bake"),
    ],
)
def test_mistake_is_refused_before_anything_is_submitted(line, message, project, slurm, capsys):
    assert submit(line) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert error.count("\n") == 1
    assert not (project / "submitted").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("pretrain gpt2-nano --nodes 0 -- --data data", "nodes must be at least 1; got 0"),
        ("pretrain gpt2-nano --gpus-per-node -1 -- --data data", "gpus_per_node must be at least 0; got -1"),
        ("pretrain gpt2-nano --tasks-per-node 0 -- --data data", "tasks_per_node must be at least 1; got 0"),
        ("pretrain gpt2-nano --time banana -- --data data", "time must be minutes, .*; got 'banana'"),
        ("prepare --array abc -- --source data", "array must be numbers of tasks, such as 0-31; got 'abc'"),
        ("pretrain gpt2-nano --nodes 2 --array 0-3 -- --data data", "array is for prepare alone"),
    ],
)
def test_flag_that_sbatch_would_misunderstand_is_refused_even_in_a_dry_run(line, message, project, slurm, capsys):
    with pytest.raises(SystemExit, match="2"):  # tyro's own way out
        submit(line.replace(" -- ", " --dry-run -- "))
    assert re.search(message, " ".join(capsys.readouterr().err.split()))


@pytest.mark.parametrize("time", ["90", "90:00", "12:00:00", "1-0", "1-12:30", "2-00:00:00", "UNLIMITED"])
@pytest.mark.parametrize("array", ["0", "0-31", "0-30:2", "1,3,5-7", "0-31%4"])
def test_what_sbatch_takes_for_a_time_and_an_array_is_taken(time, array):
    assert Options(command="prepare", time=time, array=array).array == array


def test_run_that_another_job_trains_is_refused(project, slurm, capsys):
    slurm(squeue="echo '11|first|RUNNING|None|1:02|58:58|n1'")
    assert submit(CASES["two-nodes"]) == 2
    assert "job 11 (running) is already training run first: wait for it, `scancel 11`" in capsys.readouterr().err


def test_refusal_of_sbatch_is_passed_on_in_one_line(project, slurm, capsys):
    slurm(sbatch="echo 'sbatch: error: Batch job submission failed: Invalid account' >&2; exit 1")
    assert submit(CASES["two-nodes"]) == 2
    assert "sbatch refused the job: Batch job submission failed: Invalid account" in capsys.readouterr().err


def test_machine_without_slurm_is_told_what_to_do_instead(project, pretend, capsys):
    assert submit("pretrain gpt2-nano -- --data data") == 2
    error = capsys.readouterr().err
    assert "no SLURM on this machine (sbatch is not on the PATH)" in error
    assert "python -m train pretrain gpt2-nano --data data" in error


def test_log_folder_that_cannot_be_written_is_named(project, slurm, capsys):
    shutil.rmtree(project / "slurm/logs")
    (project / "slurm/logs").write_text("a file where the folder should be")
    assert submit(CASES["two-nodes"]) == 2
    assert "slurm/logs is a file, but jobs need a folder of this name for their logs" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_log_folder_that_may_not_be_written_is_named(project, slurm, capsys):
    (project / "slurm/logs").chmod(0o555)
    assert submit(CASES["two-nodes"]) == 2
    assert "slurm/logs, the folder of the job's log: Permission denied" in capsys.readouterr().err
