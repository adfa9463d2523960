"""`train status` joins what SLURM says with the run's own record, and does without SLURM."""

import json

import pytest

from llm_jax.command_line import run
from train.__main__ import COMMANDS
from train.pretrain.config import RunOptions
from train.pretrain.presets import preset
from train.pretrain.run_folder import Identity, save


@pytest.fixture
def folder(tmp_path, monkeypatch, pretend):
    """A run at step 20 of 800 that was begun twice under SLURM."""
    monkeypatch.chdir(tmp_path)
    config = preset("shakespeare-char")
    save(tmp_path / "runs/first", config, Identity("d", "t", 24, 64, 1), RunOptions())
    lines = [
        {
            "step": step,
            "tokens": step * 1536,
            "seconds": step,
            "train_loss": 3.0,
            "tokens_per_second": 1536.0,
            "mfu": None,
        }
        | ({"val_loss": 2.5} if step == 10 else {})
        for step in range(1, 21)
    ]
    (tmp_path / "runs/first/metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    start = {"job": "12", "node": "n1", "nodes": 2, "processes": 4, "time": 1_700_000_000}
    starts = [start | {"restarts": i, "from_step": step} for i, step in enumerate([0, 14])]
    (tmp_path / "runs/first/jobs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in starts))
    return tmp_path


def status(*arguments: str) -> int:
    return run("python -m train", "", COMMANDS, ["status", *arguments])


def test_running_job_is_joined_with_the_progress_of_its_run(folder, pretend, capsys):
    pretend(squeue="echo '12|first|RUNNING|None|1:02|58:58|n[1-2]'")
    assert status("first") == 0
    said = capsys.readouterr().out
    assert "12 running · for 1:02 on n[1-2] · time limit in 58:58" in said
    assert "1 restart · last" in said
    assert "from step 14 on 2 nodes × 2 processes" in said
    assert "step 20 of 800 (2.5%)" in said
    assert "3.0000 · validation 2.5000 at step 10" in said
    assert "1,536 tokens/s" in said
    assert "0:13:00 of computing" in said  # 780 steps of a second
    assert "once it runs" not in said


def test_ended_job_is_told_by_the_accounts_where_there_are_some(folder, pretend, capsys):
    pretend(squeue="exit 0")
    pretend(sacct="echo '12|first|FAILED|3:0|01:02|12:00:00|n[1-2]'")
    assert status("first") == 0
    assert "12 failed · exit status 3 · for 01:02 on n[1-2]" in capsys.readouterr().out


def test_cluster_without_accounts_shows_the_record_alone(folder, pretend, capsys):
    pretend(squeue="echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    pretend(sacct="echo 'Slurm accounting storage is disabled' >&2; exit 1")
    assert status("first") == 0
    said = capsys.readouterr().out
    assert "none that SLURM knows of" in said
    assert "once it runs" in said


def test_machine_without_slurm_shows_the_record_alone(folder, capsys):
    assert status("first") == 0
    assert "step 20 of 800" in capsys.readouterr().out


def test_unknown_run_is_named(folder, capsys):
    assert status("second") == 2
    assert "runs/second: no such run, and no job of that name in the queue" in capsys.readouterr().err
